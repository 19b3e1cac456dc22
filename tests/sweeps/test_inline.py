"""Sweeps in one process, whole: numbers that do not depend on lanes, and true states in journal,
Optuna and MLflow."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from search_spaces import Choice, learning_rate
from sweeps.definition import Sweep
from sweeps.drivers import interrupts
from tests.sweeps.driven import begin, curves, drive_inline, tiny
from tests.sweeps.truths import check_books, check_mlflow, states
from zoneout_core.records import TrialState

COMPLETE, PRUNED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED


def finish(home: Path, sweep: Sweep, **how: str) -> str:
    """The export of a whole run."""
    run = begin(home, sweep)
    assert drive_inline(run, sweep, **how).state == "finished"
    check_books(run)
    return curves(run)


def rates(*values: float) -> Sweep:
    """A grid of learning rates."""
    return replace(tiny(epochs=3, lanes=3), space=learning_rate.space(values))


def test_numbers_do_not_depend_on_how_many_lanes_there_are(tmp_path: Path) -> None:
    one, three, nine = (finish(tmp_path, tiny(lanes=lanes)) for lanes in (1, 3, 9))
    assert one == three == nine
    assert one.count(",complete,all 2 epochs,") == 9


def test_fewer_trials_at_a_time_than_lanes_give_the_same_numbers(tmp_path: Path) -> None:
    sweep = tiny(num_trials=4)
    assert finish(tmp_path, replace(sweep, max_concurrent_trials=2, lanes=3)) == finish(
        tmp_path, sweep
    )


@pytest.mark.parametrize("scheduler", ["asha", "median", "hyperband"])
def test_a_stopped_trial_is_pruned_at_its_step_everywhere(
    tmp_path: Path, uri: str, scheduler: str
) -> None:
    sweep = replace(
        tiny(epochs=4, lanes=1, scheduler=scheduler),
        space=learning_rate.space((1e-2, 8e-3, 6e-3, 4e-3, 2e-3, 1e-3)),
    )
    run = begin(tmp_path / "home", sweep)
    outcome = drive_inline(run, sweep, tracking=uri)
    assert (outcome.state, outcome.undelivered) == ("finished", 0)
    told = states(run)
    assert told[0] is COMPLETE, "the highest rate is the best in so few updates"
    assert PRUNED in told
    check_books(run)
    check_mlflow(run, sweep.name)
    pruned = next(trial for trial in run.story().trials.values() if trial.state is PRUNED)
    assert pruned.reason == f"{scheduler} at epoch {pruned.epoch}"
    assert pruned.epoch < 4
    assert pruned.final is None


def test_a_diverged_trial_failed_with_its_reason_and_its_neighbours_keep_every_bit(
    tmp_path: Path, uri: str
) -> None:
    sweep = rates(2e-3, 1e30, 4e-3)
    run = begin(tmp_path / "home", sweep)
    assert drive_inline(run, sweep, tracking=uri).undelivered == 0
    assert states(run) == [COMPLETE, FAILED, COMPLETE]
    trial = run.story().trials[1]
    assert trial.reason == "diverged: gradient norm is nan at epoch 1, update 2"
    assert trial.records == {}
    check_books(run)
    check_mlflow(run, sweep.name)
    without = rates(2e-3, 1e-3, 4e-3)
    assert [line for line in curves(run).splitlines() if not line.startswith("1,")] == [
        line for line in finish(tmp_path, without).splitlines() if not line.startswith("1,")
    ]


def test_an_exception_in_a_lane_fails_that_trial_with_its_message(tmp_path: Path, uri: str) -> None:
    sweep = replace(tiny(), space=Choice("sequence_length", (100, 20_000, 50)))
    run = begin(tmp_path / "home", sweep)
    assert drive_inline(run, sweep, tracking=uri).undelivered == 0
    assert states(run) == [COMPLETE, FAILED, COMPLETE]
    assert (
        run.story()
        .trials[1]
        .reason.startswith(
            "ConfigError: sequence_length must be at most the length of the valid and "
        )
    )
    check_books(run)
    check_mlflow(run, sweep.name)


def test_a_trial_whose_final_numbers_are_not_finite_fails_alone(tmp_path: Path) -> None:
    """A recurrence that doubles its state with each step: finite over 19 of them, not over a whole
    text."""
    base = tiny(epochs=2, sequence_length=20, batch_size=100).base.with_values(
        {
            "cell": "rnn",
            "activation": "relu",
            "hidden_size": 32,
            "init": "uniform",
            "init_width": 0.87,
            "learning_rate": 1e-9,
        }
    )
    exports = []
    for lanes in (1, 3):
        sweep = replace(tiny(lanes=lanes), base=base, space=Choice("z_states", (1.0, 0.0, 0.9999)))
        run = begin(tmp_path / f"home{lanes}", sweep)
        assert drive_inline(run, sweep).state == "finished"
        assert states(run) == [COMPLETE, FAILED, COMPLETE]
        trial = run.story().trials[1]
        assert trial.reason == "diverged: valid_stream_bpc is nan"
        assert list(trial.records) == [1, 2]
        assert trial.final is None
        check_books(run)
        exports.append(curves(run))
    assert exports[0] == exports[1]


def test_a_spent_time_budget_ends_the_sweep_where_it_stands(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = tiny(num_trials=3, lanes=2, epochs=1000, patience=1000, time_budget_s=3600)
    run = begin(tmp_path / "home", sweep)

    def seconds() -> float:
        """An hour passes as soon as both trials have an epoch."""
        epochs = [trial.epoch for trial in run.story().trials.values()]
        return time.monotonic() + 3600 * (len(epochs) == 2 and min(epochs) > 0)

    monkeypatch.setattr(interrupts, "time", SimpleNamespace(monotonic=seconds))
    outcome = drive_inline(run, sweep, tracking=uri)
    assert (outcome.state, outcome.reason, outcome.undelivered) == (
        "budget",
        "the time budget is spent",
        0,
    )
    assert states(run) == [PRUNED, PRUNED]
    for trial in run.story().trials.values():
        assert trial.reason == "the time budget is spent"
        assert 0 < trial.epoch < 1000
    check_books(run)
    check_mlflow(run, sweep.name)
