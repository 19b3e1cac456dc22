"""The private parts of Optuna that this package uses. Checked with Optuna 5.0;
`tests/sweeps/test_compat.py` fails when another version changes them. Those that need SQLAlchemy
are in `compat_database`.
"""

from types import SimpleNamespace
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial

FIXED_PARAMS = "fixed_params"
"""The system attribute with the values that `enqueue_trial` gives a new trial. No public function
gives them to an existing one."""
RUNG_PREFIX = "completed_rung_"
"""Prefix of the system attributes in which SuccessiveHalvingPruner keeps the value that reached a
rung."""


class SequenceSampler(optuna.samplers.QMCSampler):
    """A QMCSampler that draws point `index` of its sequence.

    Optuna counts the points drawn in an attribute of the study. So a trial drawn again after a
    crash would get another point.
    """

    index: int

    def _find_sample_id(self, *_study_and_space: object) -> int:
        return self.index


class NamedHyperbandPruner(optuna.pruners.HyperbandPruner):
    """A HyperbandPruner that assigns brackets by `name` and trial number.

    Optuna uses the study's name, which is new for every run, so equal sweeps would stop different
    trials.
    """

    name: str

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        named: Any = SimpleNamespace(study_name=self.name)
        return super()._get_bracket_id(cast("optuna.Study", named), trial)
