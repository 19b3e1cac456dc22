"""Checkpoints: everything comes back, nothing half-written is ever seen, and damage is told from
absence."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError
from zoneout_core.records import EpochRecord
from zoneout_core.training import checkpoint, checkpoint_index
from zoneout_core.training.lane_state import LaneState

WRITER = Path(__file__).with_name("checkpoint_writer.py")
METRICS = {"train_bpc": 1.1, "valid_chunked_bpc": 1 / 3, "grad_norm": 0.1}
RECORD = EpochRecord(trial=7, epoch=1, updates=12, metrics=METRICS, seconds=0.25)


def state(step: int = 17, best: bool = True) -> LaneState:
    source = torch.Generator().manual_seed(step)
    weights, m, v, kept = (torch.randn(33, generator=source) for _ in range(4))
    return LaneState(
        trial=7,
        config=TrialConfig().with_values({"hidden_size": 4, "clip_norm": "inf"}),
        updates=step,
        weights=weights,
        m=m,
        v=v,
        best=kept if best else None,
        restarted_at=3,
        restarts=2,
        sums={"nll": 0.1 + 0.2, "grad_norm": 1e-300},
        seconds=1.5,
        records=[RECORD] if best else [],
    )


def assert_same(one: LaneState | None, other: LaneState) -> None:
    assert one is not None
    for name in (f.name for f in fields(LaneState)):
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype
            assert torch.equal(a, b), name
        else:
            assert a == b, name


@pytest.mark.parametrize("best", [True, False])
def test_everything_comes_back(tmp_path: Path, best: bool) -> None:
    checkpoint.save(tmp_path / "00007", state(best=best))
    assert_same(checkpoint.load(tmp_path / "00007"), state(best=best))


def test_float64_comes_back(tmp_path: Path) -> None:
    saved = state()
    saved.weights = saved.weights.double() / 3
    checkpoint.save(tmp_path, saved)
    assert_same(checkpoint.load(tmp_path), saved)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "absent") is None


def test_a_new_one_replaces_the_old_and_leftovers_go(tmp_path: Path) -> None:
    (tmp_path / "lane-0000.safetensors.tmp").write_bytes(b"cut off")
    (tmp_path / "notes.txt").write_text("not ours")
    for step in (17, 18, 19):
        checkpoint.save(tmp_path, state(step))
    assert_same(checkpoint.load(tmp_path), state(19))
    assert_same(checkpoint.load(tmp_path, checkpoint.BEFORE), state(18))
    assert len(list(tmp_path.glob("lane*"))) == 4, "two indices and the tensor files they name"
    assert (tmp_path / "notes.txt").exists()


def test_saving_the_same_again_keeps_the_one_before(tmp_path: Path) -> None:
    for step in (17, 18, 18):
        checkpoint.save(tmp_path, state(step))
    assert_same(checkpoint.load(tmp_path, checkpoint.BEFORE), state(17))


def test_a_complete_trial_keeps_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, state(17))
    complete = state(18)
    complete.records = [msgspec.structs.replace(RECORD, final={"valid_chunked_bpc": 1 / 3})]
    checkpoint.save(tmp_path, complete)
    assert_same(checkpoint.load(tmp_path), complete)
    assert len(list(tmp_path.glob("lane*"))) == 2, "one index and the tensor file it names"


def test_the_index_is_plain_json(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, state())
    index = json.loads((tmp_path / "lane.json").read_text())
    assert index["updates"] == 17
    assert index["config"]["optim"]["clip_norm"] == "inf"
    assert (tmp_path / index["tensors"]).is_file()


def tensor_file(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def flip_a_bit(folder: Path) -> None:
    path = tensor_file(folder)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut_off(folder: Path) -> None:
    path = tensor_file(folder)
    path.write_bytes(path.read_bytes()[:-9])


def change_a_digit(folder: Path) -> None:
    text = (folder / "lane.json").read_text()
    assert "0.3333333333333333" in text
    (folder / "lane.json").write_text(text.replace("0.3333333333333333", "0.3333333333333332"))


def make_index_a_folder(folder: Path) -> None:
    (folder / "lane.json").unlink()
    (folder / "lane.json").mkdir()


def rewrite_index(**changes: object) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        index = json.loads((folder / "lane.json").read_text())
        for key, value in changes.items():
            index[key] = value
        index = {
            key: value for key, value in index.items() if value is not None and key != "checksum"
        }
        (folder / "lane.json").write_bytes(checkpoint_index.seal(index))

    return rewrite


@pytest.mark.parametrize(
    ("damage", "file", "expected", "found"),
    [
        (flip_a_bit, "safetensors", "expected SHA-256 ", "bytes)"),
        (cut_off, "safetensors", "expected SHA-256 ", "bytes)"),
        (
            lambda f: tensor_file(f).unlink(),
            "safetensors",
            "expected the tensors with SHA-256 ",
            "found No such file",
        ),
        (
            lambda f: (f / "lane.json").write_text('{"st'),
            "lane.json",
            "a JSON object",
            "found JSONDecodeError",
        ),
        (
            lambda f: (f / "lane.json").write_bytes(b"{\xff}"),
            "lane.json",
            "a JSON object",
            "found UnicodeDecodeError",
        ),
        (
            lambda f: (f / "lane.json").write_text("[1]"),
            "lane.json",
            "a JSON object",
            "found TypeError",
        ),
        (make_index_a_folder, "lane.json", "a JSON object", "found IsADirectoryError"),
        (change_a_digit, "lane.json", "expected checksum ", "found '"),
        (rewrite_index(format=99), "lane.json", "expected format 4", "found format 99"),
        (
            rewrite_index(updates=None),
            "lane.json",
            "expected the fields of format 4",
            "found KeyError: 'updates'",
        ),
        (
            rewrite_index(records=[{"trial": 1}]),
            "lane.json",
            "expected the fields of format 4",
            "found ValidationError",
        ),
        (
            rewrite_index(config={"batch_size": "many"}),
            "lane.json",
            "expected the fields of format 4",
            "found ConfigError",
        ),
    ],
)
def test_damage_is_named(
    tmp_path: Path, damage: Callable[[Path], None], file: str, expected: str, found: str
) -> None:
    checkpoint.save(tmp_path, state())
    damage(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(tmp_path)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "lane"))
    assert file in text.split(" is damaged: ")[0]
    assert expected in text
    assert found in text
    assert checkpoint.restore(tmp_path)[0] is None


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def zero_the_tail(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    zeros = rng.randrange(1, len(content) + 1)
    path.write_bytes(content[:-zeros] + bytes(zeros))


def empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, rng: random.Random) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [flip, truncate, zero_the_tail, empty, delete])
def test_whatever_is_damaged_the_other_checkpoint_is_restored(
    tmp_path: Path, harm: Callable[[Path, random.Random], None]
) -> None:
    """Seeded damage to each file in turn: what is read is whole or refused, and never anything
    else."""
    sound = tmp_path / "sound"
    for step in (16, 17, 18):
        checkpoint.save(sound, state(step))
    newest = {"lane.json", json.loads((sound / "lane.json").read_text())["tensors"]}
    rng = random.Random(5)
    for path in sorted(sound.iterdir()):
        for number in range(60 if harm is flip else 6):
            folder = Path(shutil.copytree(sound, tmp_path / f"{path.name}-{number}"))
            harm(folder / path.name, rng)
            restored, wrong = checkpoint.restore(folder)
            assert_same(restored, state(17 if path.name in newest else 18))
            assert [str(error).partition(" is damaged: ")[0] for error in wrong] == (
                [str(folder / path.name)] if path.name in newest else []
            )


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for step in (17, 18):
        checkpoint.save(tmp_path, state(step))
    (tmp_path / "lane.json").write_bytes(b"")
    checkpoint.save(tmp_path, state(18))
    assert_same(checkpoint.load(tmp_path), state(18))
    assert_same(checkpoint.load(tmp_path, checkpoint.BEFORE), state(17))


def test_one_that_is_of_no_use_is_passed_over(tmp_path: Path) -> None:
    def check(found: LaneState) -> None:
        if found.updates > limit:
            raise CheckpointError(f"{found.updates} is too far")

    for step in (17, 18):
        checkpoint.save(tmp_path, state(step))
    limit = 17
    restored, wrong = checkpoint.restore(tmp_path, check)
    assert_same(restored, state(17))
    limit = 16
    restored, wrong = checkpoint.restore(tmp_path, check)
    assert restored is None
    assert list(map(str, wrong)) == ["18 is too far", "17 is too far"]


def write(folder: Path, first: int, repeats: int, *limit: int) -> subprocess.Popen[str]:
    arguments = [
        sys.executable,
        str(WRITER),
        str(folder),
        str(first),
        str(repeats),
        *map(str, limit),
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def whole_step(folder: Path, name: str = checkpoint.INDEX) -> int:
    """The step of a checkpoint in `folder`; all its parts belong to the same one."""
    loaded = checkpoint.load(folder, name)
    assert loaded is not None
    assert loaded.best is not None
    for row in (loaded.weights, loaded.m, loaded.v, loaded.best):
        assert torch.equal(row, torch.full_like(row, float(loaded.updates)))
    assert loaded.sums == {"nll": loaded.updates}
    return loaded.updates


@pytest.mark.timeout(600)  # starts processes that import torch
def test_killed_at_any_moment_the_last_checkpoint_is_whole(tmp_path: Path) -> None:
    """kill -9 within 30 ms of some save: the checkpoint is the last one announced, or the one after
    it."""
    pause = random.Random(11)
    announced = 0
    for _ in range(8):
        with write(tmp_path, announced + 1, 1_000_000) as process:
            assert process.stdout is not None
            for _ in range(pause.randrange(1, 6)):
                announced = int(process.stdout.readline())
            time.sleep(pause.uniform(0.0, 0.03))
            process.kill()
            announced = int((process.stdout.read().split() or [announced])[-1])
        assert whole_step(tmp_path) in (announced, announced + 1)
        assert whole_step(tmp_path, checkpoint.BEFORE) in range(
            max(1, announced - 1), announced + 1
        )
        announced = whole_step(tmp_path)


def test_a_write_that_hits_a_limit_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    """A real limit of the kernel: no file of the process may grow beyond 100,000 bytes; the tensors
    need 800,000."""
    with write(tmp_path, 5, 1) as process:
        assert process.communicate()[0] == "5\n"
    with write(tmp_path, 6, 1, 100_000) as process:
        text, _ = process.communicate()
    assert process.returncode == 3
    assert text.startswith(
        f"The checkpoint in {tmp_path} could not be written (File too large): it needs 800"
    )
    assert "the checkpoint of update 5 is intact." in text
    assert text.endswith(
        "Raise the limit on the size of files (ulimit -f) and run `sweep resume`.\n"
    )
    assert whole_step(tmp_path) == 5
    assert len(list(tmp_path.iterdir())) == 2, "nothing is left of the attempt"


def test_the_index_too_may_hit_the_limit(tmp_path: Path) -> None:
    """The tensors fit and the index does not: the old pair stays, the new tensors go with the next
    save."""
    checkpoint.save(tmp_path, state(1))
    script = (
        "import resource, sys; from pathlib import Path; from zoneout_core.training import checkpoint\n"
        "folder = Path(sys.argv[1]); state = checkpoint.load(folder)\n"
        "state.updates = 2; state.weights += 1; state.records *= 50\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try: checkpoint.save(folder, state)\n"
        "except checkpoint.CheckpointError as error: print(error); sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "the checkpoint of update 1 is intact" in done.stdout
    assert_same(checkpoint.load(tmp_path), state(1))
    assert len(list(tmp_path.glob("lane*"))) == 2, "nothing is left of the attempt"


@pytest.mark.needs_mount
def test_on_a_full_disk_the_one_before_makes_room(tmp_path: Path) -> None:
    """A disk for two checkpoints and a half: a third is written where the first was."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
    try:
        with write(tmp_path / "00007", 1, 5) as process:
            assert process.communicate()[0].split() == ["1", "2", "3", "4", "5"]
        assert whole_step(tmp_path / "00007") == 5
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_the_first_write_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(tmp_path / "file" / "00007", state())
    assert "could not be written (Not a directory)" in str(caught.value)
    assert "there was no checkpoint before it" in str(caught.value)
    assert str(caught.value).endswith("Make the folder writable and run `sweep resume`.")
