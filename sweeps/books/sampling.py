"""Optuna's samplers and pruners as a sweep uses them: every argument that decides a draw or a stop
is said here.

Optuna's defaults change between its versions, and a sweep that was written down has to draw what it
drew.
"""

import hashlib
import math
import warnings

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces import Product, Range, Space
from sweeps.books.compat import NamedHyperbandPruner, SequenceSampler
from sweeps.definition import Sweep

START_UP = 10
"""Trials that TPE and GP draw at random first."""
REDUCTION = 3
"""Of the trials that reach a rung, one in so many goes on."""


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
            numbers: dict[str, BaseDistribution] = {}
            for part in parts:
                numbers |= _numbers(part)
            return numbers
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
