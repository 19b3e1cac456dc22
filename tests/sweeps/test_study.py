"""The study: exact grids, samplers that need nothing saved, true states, and mending after a
crash."""

import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from sweeps.books.events import EndEvent, RecordEvent, TrialEvent
from sweeps.books.story import Story
from sweeps.books.study import Study
from sweeps.definition import Sweep
from tests.sweeps.driven import tiny
from zoneout_core import tasks
from zoneout_core.errors import ConfigError
from zoneout_core.records import CHARACTERS, EpochRecord, Metrics, TrialState

LEARNING_RATE = {"space": "learning_rate", "num_trials": 6}


def record(trial: int, epoch: int, value: float, kind: Metrics = CHARACTERS) -> EpochRecord:
    metrics = dict.fromkeys(kind.epoch, -value) | {kind.objective: value}
    return EpochRecord(trial=trial, epoch=epoch, updates=epoch, metrics=metrics)


def run_all(study: Study) -> list[dict[str, object]]:
    """Ask for every trial and complete it with a value of its own."""
    params = []
    while (assignment := study.ask()) is not None:
        params.append(assignment.params)
        study.tell(assignment.trial, TrialState.COMPLETE, "done", float(assignment.trial))
    return params


def test_a_grid_is_exact_and_its_numbers_are_its_indices(tmp_path: Path) -> None:
    sweep = tiny()
    study = Study("s", sweep, tmp_path / "study.journal")
    assert run_all(study) == sweep.search_space.grid()


def test_reopening_a_grid_enqueues_only_what_is_missing(tmp_path: Path) -> None:
    sweep = tiny()
    Study("s", tiny(num_trials=4), tmp_path / "study.journal")
    assert run_all(Study("s", sweep, tmp_path / "study.journal")) == sweep.search_space.grid()


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_a_sampler_draws_the_same_after_being_reopened_before_every_trial(
    tmp_path: Path, sampler: str
) -> None:
    sweep = tiny(**LEARNING_RATE, sampler=sampler)
    expected = run_all(Study("s", sweep, tmp_path / "whole.journal"))
    assert len(expected) == 6
    assert len({tuple(params.values()) for params in expected}) == 6
    told = []
    for _ in expected:
        study = Study("s", sweep, tmp_path / "pieces.journal")
        assignment = study.ask()
        assert assignment is not None
        told.append(assignment.params)
        study.tell(assignment.trial, TrialState.COMPLETE, "done", float(assignment.trial))
    assert told == expected


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_trials_that_are_asked_together_differ(tmp_path: Path, sampler: str) -> None:
    study = Study("s", tiny(**LEARNING_RATE, sampler=sampler), tmp_path / "study.journal")
    asked = [study.ask() for _ in range(6)]
    assert len({tuple(a.params.values()) for a in asked if a}) == 6


def test_qmc_covers_a_range_more_evenly_than_chance_from_the_first_trial(tmp_path: Path) -> None:
    sweep = tiny(space="learning_rate", num_trials=16, sampler="qmc")
    study = Study("s", sweep, tmp_path / "study.journal")
    asked = [study.ask() for _ in range(16)]
    sixteenths = {
        int((math.log10(a.params["optim.learning_rate"]) + 4) / 2 * 16) for a in asked if a
    }
    assert len(sixteenths) == 16


def test_a_different_sampler_seed_draws_differently(tmp_path: Path) -> None:
    first, second = (tiny(**LEARNING_RATE, sampler="random", sampler_seed=seed) for seed in (0, 1))
    assert run_all(Study("s", first, tmp_path / "1")) != run_all(Study("s", second, tmp_path / "2"))


@pytest.mark.parametrize(
    ("state", "optuna_state"),
    [
        (TrialState.COMPLETE, OptunaState.COMPLETE),
        (TrialState.PRUNED, OptunaState.PRUNED),
        (TrialState.FAILED, OptunaState.FAIL),
    ],
)
def test_states_are_true(tmp_path: Path, state: TrialState, optuna_state: OptunaState) -> None:
    study = Study("s", tiny(), tmp_path / "study.journal")
    assignment = study.ask()
    assert assignment is not None
    study.report(record(0, 1, 3.0))
    study.tell(0, state, "why", 2.5)
    (frozen,) = stored(tmp_path / "study.journal", optuna_state)
    assert frozen.intermediate_values == {1: 3.0}
    assert frozen.user_attrs["reason"] == "why"
    assert (
        frozen.value
        == {OptunaState.COMPLETE: 2.5, OptunaState.PRUNED: 3.0, OptunaState.FAIL: None}[
            optuna_state
        ]
    )
    study.tell(0, TrialState.COMPLETE, "again", 1.0)  # the first end stands
    assert stored(tmp_path / "study.journal", optuna_state)[0].user_attrs["reason"] == "why"


@pytest.mark.parametrize("task", tasks.names())
def test_what_is_minimised_is_the_tasks_objective(tmp_path: Path, task: str) -> None:
    demo = tiny(scheduler="asha")
    study = Study(
        "s", replace(demo, base=replace(demo.base, task=task)), tmp_path / "study.journal"
    )
    for number in range(4):
        assert study.ask() is not None
        stops = study.report(record(number, 1, 1.0 + number, tasks.get(task).metrics))
        assert stops == (number > 0), "the first one is best"
    trials = optuna.load_study(study_name="s", storage=storage(tmp_path / "study.journal")).trials
    assert [trial.intermediate_values for trial in trials[:2]] == [{1: 1.0}, {1: 2.0}]


def test_an_interrupted_trial_is_asked_again_under_its_number(tmp_path: Path) -> None:
    sweep = tiny(**LEARNING_RATE, sampler="random")
    study = Study("s", sweep, tmp_path / "study.journal")
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    study.requeue(first.trial)
    assert study.ask() == first
    again = Study("s", sweep, tmp_path / "study.journal")
    again.mend({})
    assert set(again.states().values()) == {OptunaState.WAITING}
    assert [again.ask(), again.ask()] == [first, second]


def test_mending_takes_over_what_only_the_journal_knows(tmp_path: Path) -> None:
    study = Study("s", tiny(), tmp_path / "study.journal")
    story = Story()
    for _ in range(3):
        assignment = study.ask()
        assert assignment is not None
        story.add(TrialEvent.of(assignment.trial, assignment.params, assignment.config, CHARACTERS))
    for number in (0, 1):
        story.add(RecordEvent.of(record(number, 1, 2.0 + number)))
    story.add(EndEvent(trial=0, state=TrialState.COMPLETE, reason="all 1 epochs", epoch=1))
    study.mend(story.trials)
    trials = optuna.load_study(study_name="s", storage=storage(tmp_path / "study.journal")).trials
    assert [t.state for t in trials[:3]] == [
        OptunaState.COMPLETE,
        OptunaState.WAITING,
        OptunaState.WAITING,
    ]
    assert trials[0].value == 2.0
    assert trials[1].intermediate_values == {1: 3.0}


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_schedulers_stop_the_worse_trials(tmp_path: Path, scheduler: str) -> None:
    sweep = tiny(scheduler=scheduler, epochs=9)
    study = Study("s", sweep, tmp_path / "study.journal")
    stopped = []
    while (assignment := study.ask()) is not None:
        for epoch in range(1, 10):
            if study.report(record(assignment.trial, epoch, float(assignment.trial))):
                stopped.append(assignment.trial)
                study.tell(assignment.trial, TrialState.PRUNED, scheduler)
                break
        else:
            study.tell(assignment.trial, TrialState.COMPLETE, "done", float(assignment.trial))
    assert stopped
    assert 0 not in stopped


def test_any_optuna_storage_will_do_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    sweep = tiny(storage=url, num_trials=3)
    assert len(run_all(Study("s", sweep, tmp_path / "unused"))) == 3
    assert {t.state for t in optuna.load_study(study_name="s", storage=url).trials} == {
        OptunaState.COMPLETE
    }
    assert not (tmp_path / "unused").exists()
    with pytest.raises(
        ConfigError,
        match="storage must be an Optuna storage URL that can be opened, but 'nonsense'",
    ):
        Study("s", tiny(storage="nonsense"), tmp_path / "unused")


def storage(path: Path) -> optuna.storages.BaseStorage:
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend(str(path)))


def stored(path: Path, state: OptunaState) -> list[optuna.trial.FrozenTrial]:
    return [
        t
        for t in optuna.load_study(study_name="s", storage=storage(path)).trials
        if t.state == state
    ]


def test_trials_beyond_the_budget_are_not_asked(tmp_path: Path) -> None:
    sweep: Sweep = tiny(num_trials=2)
    assert len(run_all(Study("s", sweep, tmp_path / "study.journal"))) == 2
    assert len(run_all(Study("s", tiny(num_trials=5), tmp_path / "study.journal"))) == 3
