"""What is used of Optuna's storage in a database though Optuna does not promise to keep it. Checked
with Optuna 5.0; `tests/sweeps/test_compat.py` fails when another version changes it.
"""

from typing import TYPE_CHECKING

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy as FrozenStudy  # what get_all_studies returns


def cached(database: RDBStorage) -> BaseStorage:
    """The database behind the cache that `optuna.create_study` puts before it: finished trials are
    read once. Here the cache lies below a storage of our own, where Optuna would put none."""
    return _CachedStorage(database)


class OneTryStorage(RDBStorage):
    """An RDBStorage that tries once to make a trial.

    Optuna tries five times without looking whether the first try reached the database, which leaves
    two trials where there should be one.
    """

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            trial = self._get_prepared_new_trial(study_id, template_trial, session)
            session.flush()
            return self._build_frozen_trial_from_trial_model(trial)
