"""The private parts of Optuna's database storage that this package uses. Checked with Optuna 5.0;
`tests/sweeps/test_compat.py` fails when another version changes them.
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
    """The database behind the cache that `optuna.create_study` would put before it, which reads
    finished trials only once. Optuna puts none below a storage of our own."""
    return _CachedStorage(database)


class OneTryStorage(RDBStorage):
    """An RDBStorage that tries only once to create a trial.

    Optuna tries five times without checking whether the first try reached the database, which may
    leave two trials instead of one.
    """

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            trial = self._get_prepared_new_trial(study_id, template_trial, session)
            session.flush()
            return self._build_frozen_trial_from_trial_model(trial)
