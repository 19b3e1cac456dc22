"""The books of a run: each trial, epoch and end once, journal and study agreeing, wherever the
driver was killed.

Nothing trains here: epochs have made-up values, so that a run takes a blink and can be killed after
every single write.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from sweeps.books.events import EndEvent, PlacedEvent, RecordEvent
from sweeps.books.ledger import Ledger
from sweeps.books.run_folder import RunFolder
from sweeps.definition import Sweep
from tests.sweeps.driven import begin, curves, tiny
from tests.sweeps.journals import PLACEMENT
from tests.sweeps.truths import check_books, cut_lines, states
from zoneout_core.errors import HomeError
from zoneout_core.records import CHARACTERS, EpochRecord, TrialState

EPOCHS = 3


def sweep(scheduler: str = "none") -> Sweep:
    """Two lanes; one for the median rule, which asks how far the others are at the moment."""
    return tiny(
        epochs=EPOCHS, scheduler=scheduler, num_trials=6, lanes=1 if scheduler == "median" else 2
    )


def record(trial: int, epoch: int) -> EpochRecord:
    """A value that depends on trial and epoch alone, as a real one does; the second trial is the
    best."""
    value = 3.0 - 0.1 * epoch + 0.3 * abs(trial - 0.8)
    final = (
        dict.fromkeys(CHARACTERS.final, value) | {"best_epoch": float(epoch)}
        if epoch == EPOCHS
        else None
    )
    metrics = dict.fromkeys(CHARACTERS.epoch, 9.0 - value) | {CHARACTERS.objective: value}
    return EpochRecord(trial=trial, epoch=epoch, updates=4 * epoch, metrics=metrics, final=final)


def drive(run: RunFolder, sweep: Sweep) -> None:
    """What a driver does with its lanes, one epoch at a time; a trial begins anew and so tells what
    it told before."""
    ledger = Ledger(run, sweep, "inline")
    epoch_of: dict[int, int] = {}
    while True:
        while len(epoch_of) < sweep.lanes and (assignment := ledger.ask()) is not None:
            epoch_of[assignment.trial] = 0
            ledger.take(PlacedEvent.of(assignment.trial, PLACEMENT))
        if not epoch_of:
            break
        for trial in list(epoch_of):
            epoch_of[trial] += 1
            over = ledger.take(RecordEvent.of(record(trial, epoch_of[trial])))
            if not over and epoch_of[trial] == EPOCHS:
                reason = f"all {EPOCHS} epochs"
                ledger.take(
                    EndEvent(trial=trial, state=TrialState.COMPLETE, reason=reason, epoch=EPOCHS)
                )
                over = True
            if over:
                del epoch_of[trial]
    ledger.close("finished", "all trials ended")


@contextmanager
def snapshots(run: RunFolder, folder: Path) -> Iterator[list[RunFolder]]:
    """Copies of the run as it is after every write to its files: what a driver leaves that is
    killed just then.

    The journal writes with `os.write`, and Optuna calls `os.fsync` after each of its writes.
    """
    taken: list[RunFolder] = []
    write, fsync = os.write, os.fsync

    def take() -> None:
        taken.append(RunFolder(folder / str(len(taken)) / run.name))
        shutil.copytree(run.folder, taken[-1].folder, symlinks=True)

    def noted_write(descriptor: int, data: bytes) -> int:
        written = write(descriptor, data)
        take()
        return written

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        take()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", noted_write)
        patch.setattr(os, "fsync", noted_fsync)
        yield taken


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("scheduler", "step"), [("none", 9), ("asha", 1), ("hyperband", 6), ("median", 6)]
)
def test_a_driver_killed_after_any_write_leaves_books_that_go_on_as_if_it_had_not(
    tmp_path: Path, fresh: Path, scheduler: str, step: int
) -> None:
    whole = begin(fresh, sweep(scheduler))
    with snapshots(whole, tmp_path / "killed") as killed:
        drive(whole, sweep(scheduler))
    assert (TrialState.PRUNED in states(whole)) == (scheduler != "none")
    assert len(killed) > 60
    for number in range(0, len(killed), step):
        drive(killed[number], sweep(scheduler))
        assert curves(killed[number]) == curves(whole), f"killed after write {number + 1}"
        check_books(killed[number])


def test_a_driver_killed_again_and_again_comes_to_the_same_end(tmp_path: Path, fresh: Path) -> None:
    whole = often = begin(fresh, sweep("asha"))
    for life in range(12):
        with snapshots(often, tmp_path / str(life)) as killed:
            drive(often, sweep("asha"))
        if len(killed) <= 17:
            break
        often = killed[16]
    assert life > 4
    assert curves(often) == curves(whole)
    check_books(often)


@pytest.mark.parametrize("lines", range(1, 9))
def test_a_power_cut_that_took_the_journals_last_lines_but_not_the_studys(
    fresh: Path, lines: int
) -> None:
    run = begin(fresh, sweep("asha"))
    drive(run, sweep("asha"))
    expected = curves(run)
    cut_lines(run.journal, lines)
    drive(run, sweep("asha"))
    assert curves(run) == expected
    check_books(run)


@pytest.mark.parametrize("lines", [1, 2, 5, 10, 20, 40])
def test_a_study_that_lost_its_last_lines_is_mended_from_the_journal(
    fresh: Path, lines: int
) -> None:
    run = begin(fresh, sweep())
    drive(run, sweep())
    expected = curves(run)
    cut_lines(run.study, lines)
    drive(run, sweep())
    assert curves(run) == expected
    check_books(run)


def test_a_torn_line_of_the_study_is_cut_off_and_a_dead_drivers_lock_removed(
    tmp_path: Path, fresh: Path
) -> None:
    whole = begin(fresh, sweep())
    with snapshots(whole, tmp_path / "killed") as killed:
        drive(whole, sweep())
    run = killed[40]
    with run.study.open("a") as study:
        study.write('{"op_code": 6, "tri')
    lock = Path(f"{run.study}.lock")
    if not lock.is_symlink():  # the copy was made between two writes, or in the middle of one
        lock.symlink_to(run.study)
    drive(
        run, sweep()
    )  # Optuna itself would wait for half a minute, and then find a line that is two
    check_books(run)
    assert not lock.is_symlink()


def test_an_epoch_and_an_end_told_again_change_nothing(fresh: Path) -> None:
    run = begin(fresh, sweep())
    ledger = Ledger(run, sweep(), "inline")
    assignment = ledger.ask()
    assert assignment is not None
    for _ in range(2):
        assert not ledger.take(RecordEvent.of(record(0, 1)))
    ledger.end(0, TrialState.FAILED, "first")
    ledger.end(0, TrialState.COMPLETE, "second")
    assert ledger.take(RecordEvent.of(record(0, 2))), "a trial that has ended is told to stop"
    ledger.close("interrupted", "stopped")
    check_books(run)
    trial = run.story().trials[0]
    assert (trial.state, trial.reason, list(trial.records)) == (TrialState.FAILED, "first", [1])


def test_a_trial_whose_last_epoch_has_no_final_numbers_is_not_pruned_there(fresh: Path) -> None:
    """It diverged when they were taken: FAILED, whatever the scheduler thinks of an epoch after
    which none comes."""
    definition = tiny(epochs=EPOCHS, scheduler="asha", num_trials=6)
    run = begin(fresh, definition)
    ledger = Ledger(run, definition, "inline")
    for trial, best in ((0, 1.0), (1, 2.0), (2, 3.0), (3, 0.5)):
        ledger.ask()
        for epoch in range(1, EPOCHS + 1):
            metrics = record(trial, epoch).metrics | {
                CHARACTERS.objective: best + 5.0 * (trial + 1) * (epoch == EPOCHS)
            }
            over = ledger.take(
                RecordEvent.of(replace(record(trial, epoch), metrics=metrics, final=None))
            )
            if over:
                break
        if not over:
            reason = "diverged: a is nan"
            ledger.take(EndEvent(trial=trial, state=TrialState.FAILED, reason=reason, epoch=EPOCHS))
    ledger.close("interrupted", "stopped")
    assert [run.story().trials[trial].state for trial in (0, 3)] == [TrialState.FAILED] * 2
    assert [run.story().trials[trial].epoch for trial in (0, 3)] == [EPOCHS] * 2
    check_books(run)


def test_the_journal_tells_each_configuration_whole(fresh: Path) -> None:
    run = begin(fresh, sweep())
    drive(run, sweep())
    for trial in run.story().trials.values():
        assert trial.config == sweep().trial_config(trial.params).to_json()
        assert trial.metrics == CHARACTERS


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("interrupted", TrialState.INTERRUPTED),
        ("failed", TrialState.INTERRUPTED),
        ("budget", TrialState.PRUNED),
    ],
)
def test_closing_says_what_becomes_of_running_trials(
    fresh: Path, state: str, expected: TrialState
) -> None:
    run = begin(fresh, sweep())
    ledger = Ledger(run, sweep(), "inline")
    for _ in range(2):
        ledger.ask()
    ledger.take(RecordEvent.of(record(1, 1)))
    ledger.close(state, "why")
    check_books(run)
    story = run.story()
    assert story.state == state
    assert [(t.state, t.reason, t.epoch) for t in story.trials.values()] == [
        (expected, "why", 0),
        (expected, "why", 1),
    ]


def test_a_lost_trial_failed(fresh: Path) -> None:
    run = begin(fresh, sweep())
    ledger = Ledger(run, sweep(), "ray")
    ledger.ask()
    ledger.lost(0, "its process died")
    ledger.close("interrupted", "stopped")
    check_books(run)
    assert (run.story().trials[0].state, run.story().trials[0].reason) == (
        TrialState.FAILED,
        "its process died",
    )


def test_a_study_that_cannot_be_written_is_named(fresh: Path) -> None:
    run = begin(fresh, sweep())
    run.study.mkdir()
    with pytest.raises(HomeError) as error:
        Ledger(run, sweep(), "inline")
    assert str(error.value) == (
        f"The study {run.study} must take every event, but cannot be written: Is a directory. "
        f"Mend that, then go on with: {run.command('resume')}"
    )
