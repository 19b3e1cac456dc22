"""What is used of Optuna though Optuna does not promise to keep it. Checked with Optuna 5.0;
`tests/sweeps/test_compat.py` fails when another version changes it. What needs SQLAlchemy is in
`compat_database`.
"""

from types import SimpleNamespace
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial

FIXED_PARAMS = "fixed_params"
"""The system attribute with the values that `enqueue_trial` gives a trial. No public function gives
them to a trial that is already there."""
RUNG_PREFIX = "completed_rung_"
"""How a system attribute begins in which SuccessiveHalvingPruner keeps the value that reached a
rung."""


class SequenceSampler(optuna.samplers.QMCSampler):
    """A QMCSampler whose next point is that of `index`.

    Optuna counts the points that were drawn in an attribute of the study, so that a trial that is
    drawn again after a crash would get another point.
    """

    index: int

    def _find_sample_id(self, *_study_and_space: object) -> int:
        return self.index


class NamedHyperbandPruner(optuna.pruners.HyperbandPruner):
    """A HyperbandPruner that assigns brackets by `name` and trial number.

    Optuna takes the study's name, which is new for every run: equal sweeps would stop different
    trials.
    """

    name: str

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        named: Any = SimpleNamespace(study_name=self.name)
        return super()._get_bracket_id(cast("optuna.Study", named), trial)
