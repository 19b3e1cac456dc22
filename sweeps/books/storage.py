"""The Optuna storages of runs: a journal file that survives crashes and full disks, or any storage
URL."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from sweeps import pasting, secrets
from sweeps.books import sealed
from zoneout_core.errors import ConfigError, HomeError, RunError


class StorageAway(RunError):
    """The database of the study does not answer, and the sweep is not to wait for it."""


def open_storage(url: str, journal: Path) -> BaseStorage:
    """The storage at `url`, or in the file `journal` if `url` is empty. The caller is the only
    writer of that file.

    A password that is left out of the URL is looked up (`sweeps.secrets`). Raises `ConfigError`
    when it is nowhere or the URL cannot be opened, and `HomeError` when the file cannot be written.
    """
    if not url:
        return JournalStorage(_StudyFile(journal))
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


class _StudyFile(JournalFileBackend):
    """Optuna's journal file, written by the run's one driver.

    Opening it removes what a killed driver left: its lock, for which Optuna would wait 30 seconds,
    and a torn last line, to which Optuna would append. Each line has a checksum, which other
    readers of the file ignore. Lines of other writers, such as a dashboard, have none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            Path(f"{path}.lock").unlink(missing_ok=True)
            if path.exists():
                os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
            super().__init__(str(path))
        except OSError as error:
            raise self._unusable(error) from error

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        """Append to the file. Raises `HomeError` when the disk refuses."""
        try:
            super().append_logs([log | {sealed.KEY: sealed.of_json(log)} for log in logs])
        except OSError as error:
            raise self._unusable(error) from error

    def read_logs(self, log_number_from: int) -> Generator[dict[str, object], None, None]:
        """The file's lines. Raises `HomeError` when it is gone, and the standard `ValueError` for a
        damaged line."""
        try:
            logs = super().read_logs(log_number_from)
            for number, log in enumerate(logs, start=log_number_from + 1):
                stated = log.pop(sealed.KEY, None)
                if stated is not None and stated != sealed.of_json(log):
                    raise ValueError(f"line {number} does not add up to its checksum {stated!r}")
                yield log
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> HomeError:
        return HomeError(
            f"The study {self._path} must take every event, but cannot be written:"
            f" {error.strerror or error}. Mend that, then go on with:"
            f" {pasting.on_run(self._path.parent, 'resume')}"
        )


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
