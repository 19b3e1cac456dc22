"""Samplers and pruners: pinned to the last argument, and told of what diverged, while every stored
state is true."""

import ast
import hashlib
import inspect
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from search_spaces import Choice, Product, Range, Switch
from sweeps import definition
from sweeps.books import sampling
from sweeps.books.study import Study
from sweeps.definition import Sweep
from zoneout_core.records import CHARACTERS, EpochRecord, TrialState

EVERYTHING = Product(
    (
        Range("learning_rate", 1e-4, 1e-2, log=True),
        Range("z_cells", 0.0, 0.9),
        Range("hidden_size", 8, 64, log=True),
        Range("epochs", 2, 9),
        Choice("offset", ("random", "zero")),
        Switch(
            "clip",
            (
                ("gradient", Range("clip_norm", 0.25, 4.0)),
                ("update", Choice("clip_norm", (1.0, math.inf))),
            ),
        ),
    )
)
LOW, HIGH = 1e-4, 1.0
RATES = Product((Range("learning_rate", LOW, HIGH, log=True), Range("z_cells", 0.0, 0.9)))
"""Of the learning rates, the upper part diverges."""


def searching(space: Any, sampler: str, trials: int, **fields: Any) -> Sweep:
    return replace(
        definition.get("demo"), space=space, sampler=sampler, num_trials=trials, **fields
    )


# Draws


def suggestions(sweep: Sweep, path: Path) -> Iterator[dict[str, Any]]:
    """What is drawn two by two, every trial told a value of its own."""
    study = Study("s", sweep, path)
    while pair := [assignment for _ in range(2) if (assignment := study.ask()) is not None]:
        for assignment in pair:
            yield assignment.params
            study.tell(assignment.trial, TrialState.COMPLETE, "done", math.sin(assignment.trial))


def digest(drawn: list[dict[str, Any]]) -> str:
    """The values in the order of the space, whatever its keys are called.

    They count to six digits: the last bits of a logarithm are the processor's own.
    """
    values = (value for assignment in drawn for value in assignment.values())
    text = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


DRAWN = {
    "random": "22a018aab370a5e8",
    "tpe": "a3c2dd29864d0c6b",
    "qmc": "a3e07572b7b96ec8",
    "gp": "b82452271fd5ff34",
}
"""Of the first 20 suggestions; of GP the 10 at random, since the others end an optimisation, whose
path is rounding's."""


@pytest.mark.parametrize("sampler", DRAWN)
def test_a_sampler_draws_what_it_always_drew(tmp_path: Path, sampler: str) -> None:
    count = sampling.START_UP if sampler == "gp" else 20
    drawn = list(suggestions(searching(EVERYTHING, sampler, count), tmp_path / "study.journal"))
    assert len(drawn) == count
    assert digest(drawn) == DRAWN[sampler], drawn


def test_every_argument_of_optunas_samplers_and_pruners_is_said() -> None:
    """So none can change with Optuna's version; a new one has to be decided on here."""
    said: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(sampling))):
        if isinstance(node, ast.Call):
            name = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            said.setdefault(name, set()).update(word.arg for word in node.keywords if word.arg)
    kinds = {
        "RandomSampler": optuna.samplers.RandomSampler,
        "TPESampler": optuna.samplers.TPESampler,
        "GPSampler": optuna.samplers.GPSampler,
        "_Qmc": optuna.samplers.QMCSampler,
        "SuccessiveHalvingPruner": optuna.pruners.SuccessiveHalvingPruner,
        "NamedHyperbandPruner": optuna.pruners.HyperbandPruner,
        "MedianPruner": optuna.pruners.MedianPruner,
    }
    for name, kind in kinds.items():
        takes = set(inspect.signature(kind).parameters) - {
            "warn_asynchronous_seeding"
        }  # only without a seed
        assert said[name] == takes, name


# Divergence


def value(params: dict[str, Any], share: float) -> float | None:
    """The objective, best a little below where training diverges; None there."""
    rate = math.log(params["optim.learning_rate"] / LOW) / math.log(HIGH / LOW)
    edge = 1 - share
    return (
        None
        if rate > edge
        else 1.5 + 3 * (rate - 0.8 * edge) ** 2 + (params["regularizer.zoneout.z_cells"] - 0.4) ** 2
    )


def search(study: Study, share: float) -> list[float | None]:
    """The values of all trials; those without one diverged."""
    values = []
    while (assignment := study.ask()) is not None:
        values.append(value(assignment.params, share))
        tell(study, assignment.trial, values[-1])
    return values


def tell(study: Study, trial: int, value: float | None) -> None:
    if value is None:
        study.tell(trial, TrialState.FAILED, "diverged: train_bpc is nan at epoch 1, update 3")
    else:
        study.tell(trial, TrialState.COMPLETE, "done", value)


def diverging(values: list[float | None]) -> float:
    """Which share of the draws after the first ten has no value."""
    return sum(value is None for value in values[sampling.START_UP :]) / len(
        values[sampling.START_UP :]
    )


@pytest.mark.parametrize(("sampler", "trials", "seeds"), [("tpe", 50, 4), ("gp", 20, 1)])
def test_a_region_that_diverges_does_not_attract_a_sampler(
    tmp_path: Path, sampler: str, trials: int, seeds: int
) -> None:
    shares = []
    for seed in range(seeds):
        sweep = searching(RATES, sampler, trials, sampler_seed=seed)
        shares.append(diverging(search(Study("s", sweep, tmp_path / str(seed)), 0.25)))
    assert sum(shares) / seeds < 0.3, f"drawn blindly, 25 % diverge: {shares}"


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_what_diverged_stays_failed_for_all_but_the_sampler(tmp_path: Path, sampler: str) -> None:
    study = Study("s", searching(RATES, sampler, 16), tmp_path / "study.journal")
    values = search(study, 0.5)
    assert {OptunaState.COMPLETE, OptunaState.FAIL} == set(study.states().values())
    for number, state in study.states().items():
        assert (state == OptunaState.FAIL) == (values[number] is None)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_study_reopened_before_every_trial_draws_the_same_after_divergence(
    tmp_path: Path, sampler: str
) -> None:
    sweep = searching(RATES, sampler, 14)
    expected = search(Study("s", sweep, tmp_path / "whole"), 0.5)
    assert None in expected
    told = []
    while (assignment := (study := Study("s", sweep, tmp_path / "pieces")).ask()) is not None:
        told.append(value(assignment.params, 0.5))
        tell(study, assignment.trial, told[-1])
    assert told == expected


def seen(
    sampler: str, ends: list[tuple[TrialState, str, float | None]], path: Path
) -> list[tuple[str, float | None]]:
    """State and value of trials as the sampler sees them."""
    study = Study("s", searching(RATES, sampler, len(ends)), path)
    for state, reason, told in ends:
        assignment = study.ask()
        assert assignment is not None
        study.tell(assignment.trial, state, reason, told)
    return [(trial.state.name, trial.value) for trial in study._sampled.get_trials()]


BAD = (TrialState.FAILED, "diverged: train_bpc is nan at epoch 1, update 3", None)
LOST = (TrialState.FAILED, "OSError: the disk is gone", None)
GOOD = (TrialState.COMPLETE, "done", 2.0)
WORST = (TrialState.COMPLETE, "done", 7.0)


def test_tpe_sees_divergence_below_all_others_and_gp_at_the_worst_value(tmp_path: Path) -> None:
    ends = [BAD, LOST, GOOD, WORST, BAD]
    complete = [("COMPLETE", 2.0), ("COMPLETE", 7.0)]
    assert seen("tpe", ends, tmp_path / "1") == [
        ("PRUNED", None),
        ("FAIL", None),
        *complete,
        ("PRUNED", None),
    ]
    assert seen("gp", ends, tmp_path / "2") == [
        ("COMPLETE", 7.0),
        ("FAIL", None),
        *complete,
        ("COMPLETE", 7.0),
    ]
    assert seen("random", ends, tmp_path / "3") == [
        ("FAIL", None),
        ("FAIL", None),
        *complete,
        ("FAIL", None),
    ]


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_divergence_stays_hidden_while_nothing_can_be_compared_with_it(
    tmp_path: Path, sampler: str
) -> None:
    assert seen(sampler, [BAD, LOST, BAD], tmp_path / "study.journal") == [("FAIL", None)] * 3


def test_pruners_see_the_study_as_it_is(tmp_path: Path) -> None:
    """The median rule waits for four complete trials: what diverged is none, whatever GP is
    shown."""
    study = Study("s", searching(RATES, "gp", 9, scheduler="median"), tmp_path / "study.journal")

    def stops(epoch: int, value: float) -> bool:
        assignment = study.ask()
        assert assignment is not None
        metrics = dict.fromkeys(CHARACTERS.epoch, 1.0) | {CHARACTERS.objective: value}
        stop = study.report(
            EpochRecord(trial=assignment.trial, epoch=epoch, updates=1, metrics=metrics)
        )
        tell(study, assignment.trial, None if value > 5 else value)
        return stop

    assert [stops(1, value) for value in (1.0, 1.1, 1.2, 9.0, 9.0, 9.0, 4.0)] == [False] * 7
    assert stops(1, 4.5), "the fourth complete trial is there now"
