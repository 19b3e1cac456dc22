"""Optuna's samplers and pruners as a sweep uses them: every argument that decides a draw or a stop
is said here.

Optuna's defaults change between its versions, and a sweep that was written down has to draw what it
drew.
"""

import copy
import hashlib
import math
import warnings
from collections.abc import Container, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from search_spaces import Product, Range, Space
from sweeps.books.compat import NamedHyperbandPruner, SequenceSampler
from sweeps.definition import Sweep

START_UP = 10
"""Trials that TPE and GP draw at random first."""
REDUCTION = 3
"""Of the trials that reach a rung, one in so many goes on."""
DIVERGED = "diverged"
"""How the reason of a trial begins whose numbers stopped being finite
(`zoneout_core.training.pack`)."""


def build_sampler(sweep: Sweep, number: int, sound: int) -> optuna.samplers.BaseSampler:
    """The sampler that draws trial `number`; its generator is seeded from (sampler seed, number).

    sound: how many trials are complete or were stopped early.
    """
    digest = hashlib.blake2b(f"{sweep.sampler_seed}/{number}".encode(), digest_size=4)
    seed = int.from_bytes(digest.digest(), "little")
    match sweep.sampler:
        case (
            "grid" | "random"
        ):  # a grid's trials are enqueued with their values: nothing is left to draw
            return optuna.samplers.RandomSampler(seed=seed)
        case "tpe":
            return _build_tpe(seed, sound)
        case "qmc":
            return _build_qmc(sweep, seed, number)
        case "gp":
            return optuna.samplers.GPSampler(
                seed=seed,
                independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                n_startup_trials=START_UP,
                deterministic_objective=False,
                constraints_func=None,
                warn_independent_sampling=False,
            )


def _build_tpe(seed: int, sound: int) -> optuna.samplers.BaseSampler:
    def good(trials: int) -> int:
        """How many of the trials TPE takes for the good ones: none that diverged."""
        return min(math.ceil(0.1 * trials), 25, sound)

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # some become constants, and then cannot change either
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=START_UP,
            n_ei_candidates=24,
            multivariate=True,
            group=False,
            constant_liar=True,
            constraints_func=None,
            gamma=good,
            weights=_weights,
            prior_weight=1.0,
            consider_prior=True,
            consider_magic_clip=True,
            consider_endpoints=False,
            warn_independent_sampling=False,
        )


def _weights(trials: int) -> npt.NDArray[np.float64]:
    """What each trial counts for, oldest first: the last 25 fully, the older the less."""
    older = max(trials - 25, 0)
    if older:
        ramp = np.linspace(1.0 / trials, 1.0, num=older)
    else:
        ramp = np.ones(0)
    return np.concatenate([ramp, np.ones(trials - older)])


class _Qmc(SequenceSampler):
    """Optuna's, told which numbers there are: it would otherwise draw blindly until a first trial
    is complete."""

    numbers: dict[str, BaseDistribution]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self.numbers)


def _build_qmc(sweep: Sweep, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """One scrambled sequence for all trials, whose index is the trial's number; choices are drawn
    with `seed`."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", optuna.exceptions.ExperimentalWarning
        )  # since 2021; its interface is stable
        sampler = _Qmc(
            qmc_type="sobol",
            scramble=True,
            seed=sweep.sampler_seed,
            independent_sampler=optuna.samplers.RandomSampler(seed=seed),
            warn_independent_sampling=False,
        )
    sampler.numbers = _numbers(sweep.search_space)
    sampler.index = number
    return sampler


def _numbers(space: Space) -> dict[str, BaseDistribution]:
    """The ranges of a space that are there in every trial."""
    match space:
        case Range(key, low, high, log) if space.integer:
            return {key: IntDistribution(int(low), int(high), log=log)}
        case Range(key, low, high, log):
            return {key: FloatDistribution(low, high, log=log)}
        case Product(parts):
            return {key: told for part in parts for key, told in _numbers(part).items()}
    return {}


def build_pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """The rule that stops trials early, on the objective after each epoch."""
    match sweep.scheduler:
        case "none":
            return optuna.pruners.NopPruner()
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=sweep.grace_period,
                reduction_factor=REDUCTION,
                min_early_stopping_rate=0,
                bootstrap_count=0,
            )
        case "hyperband":
            pruner = NamedHyperbandPruner(
                min_resource=sweep.grace_period,
                max_resource=sweep.base.epochs,
                reduction_factor=REDUCTION,
                bootstrap_count=0,
            )
            pruner.name = f"{sweep.name}/{sweep.sampler_seed}"
            return pruner
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=4,
                n_warmup_steps=sweep.grace_period,
                interval_steps=1,
                n_min_trials=1,
            )


def judged(study: optuna.Study, storage: BaseStorage, sampler: str) -> optuna.Study:
    """The study in `storage` as `sampler` has to see it: what diverged is bad, and not missing.

    Optuna keeps such a trial as FAIL, which is true, and which samplers pass over: a region where
    everything diverges would look to them as if nobody had been there, and attract them. What is
    shown follows from the study alone, so a resumed sweep draws what the uninterrupted one would
    have drawn.
    """
    if sampler not in ("tpe", "gp"):
        return study
    view = cast("BaseStorage", _Judged(storage, sampler))
    return optuna.Study(study.study_name, view, sampler=study.sampler, pruner=study.pruner)


class _Judged:
    """A storage whose diverged trials have the state that the sampler learns from.

    TPE ranks: it sees them PRUNED without a value, below all others. GP reads COMPLETE trials
    alone: it sees them with the worst value so far, which never is infinite, and as the ones that
    broke a constraint, which it learns apart. While no trial is sound there is nothing to compare
    them with, and they stay FAIL.
    """

    def __init__(self, storage: BaseStorage, sampler: str) -> None:
        self._storage, self._sampler = storage, sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        """All trials, or those in `states` as the sampler sees them."""
        trials = self._storage.get_all_trials(study_id, deepcopy=deepcopy)
        if self._sampler == "tpe":
            shown = self._show_pruned(trials)
        else:
            shown = self._show_broken(trials)
        return [trial for trial in shown if states is None or trial.state in states]

    def _show_pruned(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        if not any(trial.state in (OptunaState.COMPLETE, OptunaState.PRUNED) for trial in trials):
            return trials
        return [_last(trial) if _diverged(trial) else trial for trial in trials]

    def _show_broken(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        values = [
            cast("float", trial.value) for trial in trials if trial.state == OptunaState.COMPLETE
        ]
        if not values or not any(_diverged(trial) for trial in trials):
            return trials
        return [_marked(trial, max(values)) for trial in trials]


def _diverged(trial: FrozenTrial) -> bool:
    return trial.state == OptunaState.FAIL and str(trial.user_attrs.get("reason", "")).startswith(
        DIVERGED
    )


def _last(trial: FrozenTrial) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state, shown.intermediate_values = OptunaState.PRUNED, {}
    return shown


def _marked(trial: FrozenTrial, worst: float) -> FrozenTrial:
    shown = copy.copy(trial)
    if _diverged(trial):
        shown.state, shown.value = OptunaState.COMPLETE, worst
        shown.system_attrs = {**trial.system_attrs, **_BROKEN}
    elif trial.state == OptunaState.COMPLETE:
        shown.system_attrs = {**trial.system_attrs, **_KEPT}
    return shown


def _constraint(value: float) -> Mapping[str, Any]:
    """What Optuna keeps with a trial whose constraint has this value: kept up to 0, broken
    above."""
    return optuna.trial.create_trial(value=0.0, constraints={DIVERGED: value}).system_attrs


_KEPT, _BROKEN = _constraint(-1.0), _constraint(1.0)
