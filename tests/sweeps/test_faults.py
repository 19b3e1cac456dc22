"""Killed, full, cut off: whatever happens to a driver, the resumed sweep ends as the one that
nothing happened to."""

import contextlib
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeps.books.run_folder import RunFolder
from tests.sweeps.driven import begin, curves, drive_inline, tiny
from tests.sweeps.driving import sweep_resume, sweep_run
from tests.sweeps.truths import check_books, check_mlflow, cut_lines

EPOCHS, LANES = 6, 3
WHOLE = 9 * EPOCHS


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of the sweep that nothing happens to."""
    sweep = tiny(epochs=EPOCHS, lanes=9)
    run = begin(tmp_path_factory.mktemp("undisturbed"), sweep)
    drive_inline(run, sweep)
    return curves(run)


def test_killed_again_and_again_and_resumed_it_ends_as_if_it_never_was(
    tmp_path: Path, uri: str, expected: str
) -> None:
    home = tmp_path / "home"
    rng = random.Random(7)
    driver = sweep_run(home, "--inline", epochs=EPOCHS, lanes=LANES)
    for records in (1, 13, 30, 47):
        driver.until_records(records + rng.randrange(4))
        driver.kill()
        driver = sweep_resume(home, "--inline")
    assert "finished" in driver.wait()
    assert curves(driver.run) == expected
    check_books(driver.run)
    check_mlflow(driver.run, "demo")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was killed in its middle, to be copied."""
    home = tmp_path_factory.mktemp("killed") / "home"
    driver = sweep_run(home, "--inline", "--tracking", "none", epochs=EPOCHS, lanes=LANES)
    driver.until_records(WHOLE // 4)
    with driver.stopped():
        shutil.copytree(driver.run.checkpoints, driver.run.folder / "backup")
    driver.until_records(WHOLE // 2)
    driver.kill()
    return driver.run


def resumed(interrupted: RunFolder, home: Path) -> RunFolder:
    """A copy, to be damaged and driven to its end in this process."""
    return RunFolder(
        Path(shutil.copytree(interrupted.folder, home / interrupted.name, symlinks=True))
    )


def finish(run: RunFolder) -> str:
    assert drive_inline(run, run.definition()).state == "finished"
    check_books(run)
    return curves(run)


def test_without_any_checkpoint_everything_is_trained_again_and_told_once(
    interrupted: RunFolder, tmp_path: Path, expected: str
) -> None:
    run = resumed(interrupted, tmp_path)
    shutil.rmtree(run.checkpoints)
    assert finish(run) == expected


def test_a_checkpoint_ahead_of_the_journal_tells_what_the_journal_lost(
    interrupted: RunFolder, tmp_path: Path, expected: str
) -> None:
    run = resumed(interrupted, tmp_path)
    cut_lines(run.journal, 7)
    assert finish(run) == expected


def test_a_journal_that_lost_ends_that_study_and_checkpoints_know_of(
    interrupted: RunFolder, tmp_path: Path, expected: str
) -> None:
    run = resumed(interrupted, tmp_path)
    lines = run.journal.read_bytes().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if b'"event":"end"' in line]
    assert ends, "a trial has ended"
    run.journal.write_bytes(b"".join(lines[: ends[0] - 1]))  # nor its last record
    assert finish(run) == expected


def test_older_checkpoints_from_a_backup_are_as_good(
    interrupted: RunFolder, tmp_path: Path, expected: str
) -> None:
    run = resumed(interrupted, tmp_path)
    shutil.rmtree(run.checkpoints)
    (run.folder / "backup").rename(run.checkpoints)
    assert finish(run) == expected


def test_checkpoints_ahead_of_everything_else_tell_what_was_lost(
    interrupted: RunFolder, tmp_path: Path, expected: str
) -> None:
    later = resumed(interrupted, tmp_path / "later")
    assert finish(later) == expected
    run = resumed(interrupted, tmp_path)
    shutil.rmtree(run.checkpoints)
    shutil.copytree(later.checkpoints, run.checkpoints)
    assert finish(run) == expected


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_checkpoints_cost_epochs_and_no_number(
    interrupted: RunFolder, tmp_path: Path, expected: str, seed: int
) -> None:
    """Every folder of checkpoints is damaged, each in another way; what had to be read is warned
    of."""
    run = resumed(interrupted, tmp_path)
    rng = random.Random(seed)
    left = [number for number, trial in run.story().trials.items() if not trial.state.finished]
    read = []
    for number in left:
        newest = run.checkpoint(number) / "lane.json"
        if not newest.exists():
            continue
        read.append(number)
        path = rng.choice([newest, newest.with_name(json.loads(newest.read_text())["tensors"])])
        match rng.choice(["flip", "cut", "empty", "delete"]):
            case "flip":
                content = bytearray(path.read_bytes())
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                path.write_bytes(content)
            case "cut":
                path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
            case "empty":
                path.write_bytes(b"")
            case "delete" if path != newest or newest.with_name("lane-before.json").exists():
                path.unlink()
            case _:
                path.write_bytes(bytes(10))
    assert read, "some trials are on their way"
    assert finish(run) == expected
    warnings = [text for text in run.story().warnings if ", to the same numbers: " in text]
    assert sorted(int(text.split()[1]) for text in warnings) == sorted(read)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own that is soon full."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.needs_mount
def test_on_a_full_disk_nothing_told_is_lost_and_after_making_room_it_goes_on(
    tmp_path: Path, expected: str
) -> None:
    with small_disk(tmp_path / "disk", "2m"):
        home = tmp_path / "disk" / "home"
        ballast = tmp_path / "disk" / "ballast"
        driver = sweep_run(home, "--inline", "--tracking", "none", epochs=EPOCHS, lanes=LANES)
        driver.until_records(9)
        with ballast.open(
            "wb", buffering=0
        ) as file:  # again and again: checkpoints that are replaced make room
            while driver.process.poll() is None:
                with contextlib.suppress(OSError):
                    file.write(bytes(512))
        output = driver.wait(2)
        assert (
            "must take every event, but cannot be written: No space left on device. Mend that, then go on"
            in output
        )
        run = driver.run
        told = {number: list(trial.records) for number, trial in run.story().trials.items()}
        assert sum(map(len, told.values())) >= 9
        ballast.unlink()
        assert "finished" in sweep_resume(home, "--inline", "--tracking", "none").wait()
        assert curves(run) == expected
        check_books(run)


def test_a_checkpoint_that_cannot_be_written_is_a_warning_and_costs_no_number(
    tmp_path: Path, finished: RunFolder
) -> None:
    sweep = tiny()
    run = begin(tmp_path, sweep)
    (run.checkpoint(4) / "lane.json.tmp").mkdir(parents=True)
    assert drive_inline(run, sweep).state == "finished"
    assert curves(run) == curves(finished)
    warnings = run.story().warnings
    assert warnings
    assert all(
        text.startswith(
            f"The checkpoint in {run.checkpoint(4)} could not be written (Is a directory): it needs "
        )
        for text in warnings
    )
    check_books(run)
