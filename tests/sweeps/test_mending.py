"""Damaged books: a bit flipped, a line lost, a file emptied. The numbers stay, or are refused; they
never change."""

import functools
import json
import math
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Choice, Product, Range, Space, Switch
from sweeps import runner
from sweeps.books import checksums, mending, provenance
from sweeps.books.events import RecordEvent
from sweeps.books.ledger import Ledger
from sweeps.books.run_folder import Home, RunFolder
from sweeps.books.story import Story
from sweeps.definition import Sweep
from sweeps.runner import DriveOptions
from tests.sweeps.driven import begin, curves, drive_inline, tiny
from tests.sweeps.truths import check_books, studied
from zoneout_core.errors import RunError, ZoneoutError
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
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # what the machine is made of does not change from run to run
        patch.setattr(provenance, "collect", functools.cache(provenance.collect))
        yield


def pruning(**changes: object) -> Sweep:
    """Few trials of few epochs, some of them stopped early, over a space that no heatmap is drawn
    of."""
    values = {
        "space": "learning_rate",
        "sampler": "tpe",
        "scheduler": "asha",
        "num_trials": 5,
        "epochs": 2,
        "lanes": 2,
    }
    values |= {"hidden_size": 4, "train_fraction": 0.02, "eval_fraction": 0.02}
    return tiny(**values | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = begin(tmp_path_factory.mktemp("whole"), pruning())
    runner.Tracking("sqlite:///nowhere.db", "demo").save(run)
    drive_inline(run, pruning())
    assert set(Story.of(run.journal).counts) == {TrialState.COMPLETE, TrialState.PRUNED}
    return run


@pytest.fixture(scope="module")
def halfway(whole: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The same, stopped on its way; its study does not know more than its journal."""
    run = begin(tmp_path_factory.mktemp("halfway"), pruning())
    runner.Tracking("sqlite:///nowhere.db", "demo").save(run)

    def stop(_: runner.Interrupts) -> bool:
        return run.journal.read_bytes().count(b'"event":"record"') >= 4

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Interrupts, "__call__", stop)
        assert drive_inline(run, pruning()).state == "interrupted"
    assert Story.of(run.journal).counts[TrialState.INTERRUPTED] > 0
    return run


def damaged(run: RunFolder, home: Path, file: str, harm: Harm, seed: int) -> RunFolder:
    copy = RunFolder(Path(shutil.copytree(run.folder, home / run.name)))
    path = copy.folder / file
    harmed = harm(path.read_bytes(), random.Random(seed))
    if harmed is None:
        path.unlink()
    else:
        path.write_bytes(harmed)
    return copy


def resume(run: RunFolder) -> None:
    found = Home(run.folder.parent).run(run.name)
    runner.drive(
        found,
        found.definition(),
        DriveOptions(data=run.folder, inline=True, tracking="none"),
        lambda text: None,
    )


def told(call: Callable[[RunFolder], str | None], run: RunFolder) -> str | ZoneoutError | None:
    """What a call returns, or how it is refused; anything else that it raises fails the test."""
    try:
        return call(run)
    except ZoneoutError as error:
        return error


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_whatever_happens_to_a_file_no_number_changes(
    tmp_path: Path, whole: RunFolder, halfway: RunFolder, state: str, file: str
) -> None:
    """The same bytes after a resume, or a sentence that names the file."""
    begun, expected = whole if state == "finished" else halfway, curves(whole)
    harms = [
        (harm, seed) for harm in (flipped, digit) for seed in range(4 if state == "finished" else 1)
    ]
    harms += [(harm, 0) for harm in (cut, zeroed, hole, emptied, deleted)]
    for number, (harm, seed) in enumerate(harms):
        run = damaged(begun, tmp_path / str(number), file, harm, seed)
        what = f"{harm.__name__} {seed} of {file}"
        before = told(curves, run)
        may_differ = state == "interrupted" or harm in (
            cut,
            zeroed,
        )  # a torn end: what a killed driver leaves
        assert before == expected or file in str(before) or may_differ, what
        refused = told(resume, run)
        if refused is not None:
            assert file in str(refused), what
            assert file in ("sweep.json", "tracking.json"), what
        else:
            assert curves(run) == expected, what
            check_books(run)


def lines(run: RunFolder, *parts: str) -> list[int]:
    """Places of the journal's lines that have all of these in them."""
    told = run.journal.read_text().splitlines()
    return [place for place, line in enumerate(told) if all(part in line for part in parts)]


def spoil(run: RunFolder, *places: int) -> None:
    """Flip a bit in each of these lines of the journal."""
    told = run.journal.read_bytes().splitlines(keepends=True)
    for place in places:
        told[place] = told[place][:12] + bytes([told[place][12] ^ 1]) + told[place][13:]
    run.journal.write_bytes(b"".join(told))


@pytest.fixture
def copy(whole: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(whole.folder, tmp_path / "home" / whole.name)))


@pytest.mark.parametrize(
    "kind", ["journal", "driver", "trial", "placed", "record", "end", "closed"]
)
def test_a_line_of_any_kind_is_written_again_and_nothing_is_trained(
    copy: RunFolder, whole: RunFolder, kind: str
) -> None:
    event = '{"journal"' if kind == "journal" else f'"event":"{kind}"'
    spoil(copy, lines(copy, event)[-1])
    was = copy.journal.read_bytes()
    with pytest.raises(RunError, match=r"Every line of a journal .*Mend it with: sweep resume"):
        copy.story()
    placed = len(lines(whole, '"event":"placed"'))
    resume(copy)
    assert curves(copy) == curves(whole)
    check_books(copy)
    assert len(lines(copy, '"event":"placed"')) == placed - (kind == "placed"), "nobody trained"
    assert (copy.folder / "journal.jsonl.damaged").read_bytes() == was
    warning = copy.story().warnings[0]
    assert warning.startswith(f"Line {lines(whole, event)[-1] + 1} of {copy.journal} adds up to ")
    assert warning.endswith("It was mended; as it was, it is kept as journal.jsonl.damaged.")


def test_what_nobody_else_knows_is_trained_again_to_the_same_numbers(
    copy: RunFolder, whole: RunFolder
) -> None:
    (place, *_) = lines(copy, '"event":"record"', '"trial":0', '"epoch":1')
    spoil(copy, place)
    shutil.rmtree(copy.checkpoints)
    resume(copy)
    assert curves(copy) == curves(whole)
    check_books(copy)
    assert "Trial 0 is trained again from epoch 1, to the same numbers." in copy.story().warnings


def test_when_journal_study_and_checkpoints_are_damaged_what_is_left_is_used(
    copy: RunFolder, whole: RunFolder
) -> None:
    (done, *_) = lines(copy, '"event":"end"', '"complete"')
    spoil(copy, *lines(copy, '"event":"trial"', '"trial":0'), done)
    copy.study.write_bytes(flipped(copy.study.read_bytes()[:400], random.Random(0)))
    resume(copy)
    assert curves(copy) == curves(whole), (
        "checkpoints know what a trial was given, and that it completed"
    )
    check_books(copy)


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "gp", "grid"])
def test_a_study_that_is_lost_is_rebuilt_and_draws_what_it_would_have_drawn(
    tmp_path: Path, sampler: str
) -> None:
    from tests.sweeps.test_study import record

    changes = {} if sampler == "grid" else {"space": "learning_rate"}
    sweep = tiny(**changes, sampler=sampler, scheduler="asha", epochs=3, num_trials=9)
    whole, lost = (begin(tmp_path / name, sweep) for name in ("whole", "lost"))

    def drive(run: RunFolder, trials: int) -> None:
        ledger = Ledger(run, sweep, "inline")
        for _ in range(trials):
            asked = ledger.ask()
            assert asked is not None
            for epoch in range(1, 4):
                if ledger.take(
                    RecordEvent.of(
                        record(asked.trial, epoch, 3.0 - epoch / 9 + abs(asked.trial - 2.5))
                    )
                ):
                    break
            else:
                ledger.end(asked.trial, TrialState.COMPLETE, "all 3 epochs")
        ledger.ask()  # and one that is interrupted
        ledger.close("interrupted", "stopped")

    for run in (whole, lost):
        drive(run, 5)
    lost.study.unlink()
    for run in (whole, lost):
        drive(run, 2)
    assert [t.params for t in studied(whole)] == [t.params for t in studied(lost)]
    assert [t.distributions for t in studied(whole)] == [t.distributions for t in studied(lost)]
    rungs = [
        [{k: v for k, v in t.system_attrs.items() if "rung" in k} for t in studied(run)]
        for run in (whole, lost)
    ]
    assert rungs[0] == rungs[1]
    assert any(rungs[0])
    assert curves(whole) == curves(lost)
    check_books(lost)


def test_a_study_that_says_another_number_is_written_anew(copy: RunFolder) -> None:
    """A line without a checksum is another writer's, and may be anything."""
    text = copy.study.read_text().splitlines()
    place, value = next((n, line) for n, line in enumerate(text) if '"intermediate_value"' in line)
    told = json.loads(value)
    del told["crc32"]
    told["intermediate_value"] += 1e-9
    text[place] = json.dumps(told)
    copy.study.write_text("\n".join(text) + "\n")
    resume(copy)
    (warning,) = copy.story().warnings
    assert warning.startswith(
        f"The study {copy.study} was damaged (epoch 1 of trial 0 has {told['intermediate_value']!r}"
    )
    assert warning.endswith("It is kept as study.journal.damaged, and written anew.")
    check_books(copy)


def test_a_storage_that_is_not_ours_is_compared_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    sweep = tiny(num_trials=2, epochs=1, storage=url)
    run = begin(tmp_path / "home", sweep)
    drive_inline(run, sweep, idle=True)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("UPDATE trial_values SET value = 0.5 WHERE trial_id = 1")
    with pytest.raises(RunError) as error:
        drive_inline(run, sweep, idle=True)
    assert str(error.value) == (
        "The Optuna storage of a run says what its journal says, but of study "
        f"{run.name} trial 0 has 0.5, and 1.0 in the journal. Restore the storage, or have the study written again in "
        f"a file of the run: {run.command('resume')} --set storage="
    )
    elsewhere = tiny(num_trials=2, epochs=1)
    assert drive_inline(run, elsewhere, idle=True).state == "finished"
    check_books(run)


@pytest.mark.parametrize("harm", [flipped, emptied, deleted])
def test_provenance_is_written_again_from_the_journal_and_still_knows_the_data(
    copy: RunFolder, harm: Harm
) -> None:
    before = checksums.read(copy.provenance)["drivers"]
    harmed = harm(copy.provenance.read_bytes(), random.Random(1))
    copy.provenance.unlink() if harmed is None else copy.provenance.write_bytes(harmed)
    resume(copy)
    after = checksums.read(copy.provenance)["drivers"]
    assert len(after) == 2
    assert after[0]["from_journal"]
    for key in ("time", "data"):
        assert (
            after[0][key][:17] == before[0][key][:17]
            if key == "time"
            else after[0][key] == before[0][key]
        )
    assert after[0]["code"]["commit"] == before[0]["code"]["commit"]
    assert (copy.folder / "provenance.json.damaged").exists() == (harm is not deleted)


@pytest.mark.parametrize(
    "space",
    [
        Range("model.hidden_size", 3, 40),
        Range("model.hidden_size", 3, 40, log=True),
        Range("optim.learning_rate", 1e-4, 1e-2, log=True),
        Choice("optim.clip_norm", (1.0, math.inf)),
        Switch(
            "model.cell",
            (("lstm", Choice("regularizer.zoneout.z_cells", (0.0, 0.5))), ("gru", Product(()))),
        ),
    ],
    ids=["whole", "whole log", "log", "infinite", "switch"],
)
def test_a_configuration_says_which_point_of_its_space_it_is(space: Space, tmp_path: Path) -> None:
    sweep = replace(tiny(), space=space, sampler="random", num_trials=1)
    books = mending._Books(begin(tmp_path, sweep), sweep)
    for point in space.corners():
        config = sweep.trial_config(point)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(books, "checkpoint", lambda trial, config=config: (config, {}))
            assert books.assigned(0) == (point, config)
            another = replace(config, epochs=config.epochs + 1)
            patch.setattr(books, "checkpoint", lambda trial, config=another: (config, {}))
            assert books.assigned(0) is None, "of another definition"


def test_a_configuration_outside_of_the_space_is_no_point_of_it(tmp_path: Path) -> None:
    sweep = replace(
        tiny(), space=Choice("model.hidden_size", (4, 8)), sampler="random", num_trials=1
    )
    books = mending._Books(begin(tmp_path, sweep), sweep)
    config = sweep.trial_config({"model.hidden_size": 5})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "checkpoint", lambda trial: (config, {}))
        assert books.assigned(0) is None
