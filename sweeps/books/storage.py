"""The Optuna storages of runs: a journal file that survives crashes and full disks, or any storage
URL."""

from pathlib import Path
from typing import Any, cast

from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial

from sweeps import secrets
from sweeps.books.study_file import StudyFile
from zoneout_core.errors import ConfigError, RunError


class StorageAway(RunError):
    """The database of the study does not answer, and the sweep is not to wait for it."""


def open_storage(url: str, journal: Path) -> BaseStorage:
    """The storage at `url`, or in the file `journal` if `url` is empty. The caller is the only
    writer of that file.

    A password that is left out of the URL is looked up (`sweeps.secrets`). Raises `ConfigError`
    when it is nowhere or the URL cannot be opened, and `HomeError` when the file cannot be written.
    """
    if not url:
        return JournalStorage(StudyFile(journal))
    from sweeps.books.patient_storage import (
        PatientStorage,  # SQLAlchemy, which a file does not need
    )

    address = secrets.unmask(url, "storage", journal.parent)
    try:
        return PatientStorage(address)
    except Exception as error:  # any driver's own error: SQLAlchemy has no common one
        raise ConfigError(
            f"storage must be an Optuna storage URL that can be opened, but {secrets.shown(url)!r}"
            f" gives: {secrets.mask(str(error))}. Leave it empty for a journal file, or use e.g."
            " sqlite:////path/study.db"
        ) from error


def check_storage(url: str) -> None:
    """Raises `ConfigError` when the storage at `url` cannot be opened now."""
    from sweeps.books.patient_storage import PatientStorage

    opened = open_storage(url, Path())
    assert isinstance(opened, PatientStorage), "a file needs no check"
    opened.close()


class _Others:
    """A storage without one of its trials."""

    def __init__(self, storage: BaseStorage, number: int) -> None:
        self._storage, self._number = storage, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """All trials but that one."""
        return [
            trial
            for trial in self._storage.get_all_trials(*args, **kwargs)
            if trial.number != self._number
        ]


def without(storage: BaseStorage, number: int) -> BaseStorage:
    """A view of `storage` in which trial `number` does not compete with itself."""
    return cast("BaseStorage", _Others(storage, number))
