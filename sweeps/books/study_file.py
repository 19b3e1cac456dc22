"""The file of a study, `study.journal`: Optuna's journal format, with a checksum on each line."""

import json
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from optuna.storages.journal import BaseJournalBackend

from sweeps import pasting
from sweeps.books import checksums
from zoneout_core.errors import HomeError


class StudyFile(BaseJournalBackend):
    """Optuna's journal on a file that one driver writes: the run's lock keeps others out.

    Optuna's own backend takes a lock and syncs the disk for each of the seven lines of a trial,
    which costs more than everything else that an idle trial does (docs/log.md). Neither is needed
    here: there is one writer, and what a power cut takes is rebuilt from the run's journal
    (`Study.mend`). Other programs, such as a dashboard, may read the file, and append lines
    without a checksum.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file. What a killed writer left is removed: a torn line, and the lock
        of Optuna's own backend, for which a dashboard would wait.

        Raises `HomeError` when the file cannot be written.
        """
        self._path = path
        self._lines_read = 0
        self._end_of_read = 0
        try:
            Path(f"{path}.lock").unlink(missing_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            weakref.finalize(self, os.close, self._file)
            os.ftruncate(self._file, path.read_bytes().rfind(b"\n") + 1)
        except OSError as error:
            raise self._unusable(error) from error

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        """Append a line per log. Raises `HomeError` when the disk refuses; the file then ends as
        before."""
        lines = b"".join(_line(log) for log in logs)
        try:
            size = self._size()
            try:
                while lines:  # a nearly full disk takes a part first
                    lines = lines[os.write(self._file, lines) :]
            except OSError:
                os.ftruncate(self._file, size)
                raise
        except OSError as error:
            raise self._unusable(error) from error

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, object]]:
        """The logs from this number on. Raises `HomeError` when the file is gone, the standard
        `ValueError` for a damaged line."""
        if log_number_from < self._lines_read:
            self._lines_read = 0
            self._end_of_read = 0
        try:
            unread_bytes = self._size() - self._end_of_read
            if not unread_bytes:  # two of three times
                return
            unread = os.pread(self._file, unread_bytes, self._end_of_read)
        except OSError as error:
            raise self._unusable(error) from error
        *lines, _torn = unread.split(b"\n")
        for line in lines:
            self._lines_read += 1
            self._end_of_read += len(line) + 1
            if self._lines_read > log_number_from:
                yield _log(line, self._lines_read)

    def _size(self) -> int:
        status = os.fstat(self._file)
        if status.st_nlink == 0:  # a deleted file can be appended to, and all of it is lost
            raise FileNotFoundError(0, "the file was deleted")
        return status.st_size

    def _unusable(self, error: OSError) -> HomeError:
        return HomeError(
            f"The study {self._path} must take every event, but cannot be written:"
            f" {error.strerror or error}. Mend that, then go on with:"
            f" {pasting.on_run(self._path.parent, 'resume')}"
        )


def _line(log: dict[str, object]) -> bytes:
    return checksums.seal(json.dumps(log, separators=(",", ":")).encode()) + b"\n"


def _log(line: bytes, number: int) -> dict[str, object]:
    """What a line says. Raises the standard `ValueError` naming the line when it is damaged."""
    log: dict[str, object] = json.loads(line)
    if log.pop(checksums.KEY, None) is not None:
        try:
            checksums.unseal(line)
        except ValueError as error:
            raise ValueError(f"line {number} {error}") from error
    return log
