"""What samplers see of a diverged trial: that it is bad, and not that it is missing."""

import copy
from collections.abc import Container, Mapping
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from zoneout_core.records import DIVERGED


def with_diverged_as_bad(study: optuna.Study, storage: BaseStorage, sampler: str) -> optuna.Study:
    """The study in `storage` as `sampler` has to see it: what diverged is bad, and not missing.

    Optuna keeps such a trial as FAIL, which is true, and which samplers pass over: a region where
    everything diverges would look to them as if nobody had been there, and attract them. What is
    shown follows from the study alone, so a resumed sweep draws what the uninterrupted one would
    have drawn.
    """
    if sampler not in ("tpe", "gp"):
        return study
    view = cast("BaseStorage", _WithDiverged(storage, sampler))
    return optuna.Study(study.study_name, view, sampler=study.sampler, pruner=study.pruner)


class _WithDiverged:
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
