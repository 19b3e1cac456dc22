"""Damaged books: a bit flipped, a line lost, a file emptied. The numbers stay, or are refused; they never change."""

import functools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps import provenance, runner
from sweeps.definition import Sweep
from sweeps.home import Home, Run
from sweeps.runner import How
from sweeps.story import Story
from tests.sweeps.driven import begin, curves, drive_inline, tiny
from tests.sweeps.truths import check_books
from zoneout_core.errors import ZoneoutError
from zoneout_core.records import TrialState

Harm = Callable[[bytes, random.Random], bytes | None]
"""What becomes of a file's bytes; None = the file is gone."""


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def digit(data: bytes, rng: random.Random) -> bytes:
    """Another digit in the place of one: valid JSON, and another number."""
    places = [place for place, byte in enumerate(data) if 0x30 <= byte < 0x39]
    changed = bytearray(data)
    changed[rng.choice(places)] += 1
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    kept = rng.randrange(len(data))
    return data[:kept] + bytes(len(data) - kept)


def hole(data: bytes, rng: random.Random) -> bytes:
    """A block of zeros somewhere: a bad sector."""
    start = rng.randrange(len(data))
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


def emptied(data: bytes, rng: random.Random) -> bytes:
    return b""


def deleted(data: bytes, rng: random.Random) -> None:
    return None


FILES = ("journal.jsonl", "study.journal", "provenance.json", "sweep.json", "tracking.json", "lock")


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # what the machine is made of does not change from run to run
        patch.setattr(provenance, "collect", functools.cache(provenance.collect))
        yield


def pruning(**changes: object) -> Sweep:
    """Few trials of few epochs, some of them stopped early, over a space that no heatmap is drawn of."""
    values = {"space": "learning_rate", "sampler": "tpe", "scheduler": "asha", "trials": 6, "epochs": 3, "lanes": 2}
    values |= {"hidden": 4, "fraction": 0.02, "scored": 0.02}
    return tiny(**values | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = begin(tmp_path_factory.mktemp("whole"), pruning())
    runner.Tracking("sqlite:///nowhere.db", "demo").save(run)
    drive_inline(run, pruning())
    assert set(Story.of(run.journal).counts) == {TrialState.COMPLETE, TrialState.PRUNED}
    return run


@pytest.fixture(scope="module")
def halfway(whole: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, stopped on its way; its study does not know more than its journal."""
    run = begin(tmp_path_factory.mktemp("halfway"), pruning())
    runner.Tracking("sqlite:///nowhere.db", "demo").save(run)
    seen = 0

    def stop() -> bool:
        nonlocal seen
        seen += 1
        return seen > 30

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Interrupts, "__call__", lambda self: stop())
        assert drive_inline(run, pruning()).state == "interrupted"
    assert Story.of(run.journal).counts[TrialState.INTERRUPTED] > 0
    return run


def damaged(run: Run, home: Path, file: str, harm: Harm, seed: int) -> Run:
    copy = Run(Path(shutil.copytree(run.folder, home / run.name)))
    path = copy.folder / file
    harmed = harm(path.read_bytes(), random.Random(seed))
    if harmed is None:
        path.unlink()
    else:
        path.write_bytes(harmed)
    return copy


def resume(run: Run) -> None:
    found = Home(run.folder.parent).run(run.name)
    runner.drive(found, found.definition(), How(data=run.folder, inline=True, tracking="none"), lambda text: None)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_whatever_happens_to_a_file_no_number_changes(
    tmp_path: Path, whole: Run, halfway: Run, state: str, file: str
) -> None:
    """The same bytes after a resume, or a sentence that names the file."""
    begun, expected = whole if state == "finished" else halfway, curves(whole)
    harms = [(harm, seed) for harm in (flipped, digit) for seed in range(int(os.environ.get("ZONEOUT_FLIPS", "3")))]
    harms += [(harm, 0) for harm in (cut, zeroed, hole, emptied, deleted)]
    for number, (harm, seed) in enumerate(harms):
        run = damaged(begun, tmp_path / str(number), file, harm, seed)
        what = f"{harm.__name__} {seed} of {file}"
        try:
            before = curves(run)
            assert before == expected or state == "interrupted" or harm in (cut, zeroed), what
        except ZoneoutError as error:
            assert file in str(error), what
        try:
            resume(run)
        except ZoneoutError as error:
            assert file in str(error), what
            assert file in ("sweep.json", "tracking.json"), what
        else:
            assert curves(run) == expected, what
            check_books(run)
