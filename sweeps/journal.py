"""The journal of a run: every fact, appended once (docs/architecture.md lists the events).

`Journal` writes; `Reader`, `read` and `follow` read, from any process, also while it is written. `sweeps.story.Story`
is the picture that the events add up to.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from zoneout_core.errors import HomeError, RunError
from zoneout_core.records import EpochRecord

Event = dict[str, Any]
"""`event` (its kind), `time` (Unix seconds), and the fields of that kind."""


def as_event(record: EpochRecord) -> Event:
    """The event of a record."""
    return {"event": "record"} | record.to_json()


class Journal:
    """Appends events to a file, one JSON object a line; a killed writer loses at most the line it was writing.

    Only the one driver of a run opens its journal. Opening creates the file and cuts off a torn last line. Each event
    is one `write` on an O_APPEND descriptor, so it survives the death of the process at once; the disk is synced at
    most every `sync_seconds` (0 = after each event) and on closing, which bounds what a power cut can take.
    """

    def __init__(self, path: Path | str, sync_seconds: float = 1.0) -> None:
        """Raises `HomeError` when the file cannot be opened for appending."""
        self.path = Path(path)
        self._sync_seconds, self._synced, self._lock = sync_seconds, time.monotonic(), Lock()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._cut_torn_line()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def append(self, event: Event) -> Event:
        """Write one event, stamping `time` when it has none, and return it as written. Safe from several threads.

        Raises `HomeError` when the disk is full or the file is gone; the file then ends with the event before.
        Raises the standard `ValueError` for a number that is not finite: callers turn those into a failed trial first.
        """
        assert self._file >= 0, "the journal is closed"
        event = {"event": event["event"], "time": event.get("time", time.time()), **event}
        line = json.dumps(event, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._write(line)
                if time.monotonic() - self._synced >= self._sync_seconds:
                    self._sync()
            except OSError as error:
                raise self._unusable(error.strerror or str(error)) from error
        return event

    def events(self) -> Iterator[Event]:
        """Every event so far, from the file."""
        return read(self.path)

    def close(self) -> None:
        """Sync and close; harmless when closed already."""
        with self._lock:
            if self._file >= 0:
                descriptor, self._file = self._file, -1
                try:
                    os.fsync(descriptor)
                except OSError as error:
                    raise self._unusable(error.strerror or str(error)) from error
                finally:
                    os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        status = os.fstat(self._file)
        if status.st_nlink == 0:  # appending to a deleted file succeeds and is lost
            raise FileNotFoundError(0, "the file was deleted")
        try:
            while line:  # a nearly full disk takes a part first, and says why on the next write
                line = line[os.write(self._file, line) :]
        except OSError:
            os.ftruncate(self._file, status.st_size)
            raise

    def _sync(self) -> None:
        os.fsync(self._file)
        self._synced = time.monotonic()

    def _cut_torn_line(self) -> None:
        size = os.fstat(self._file).st_size
        end, block = size, 1 << 16
        while end > 0:
            start = max(0, end - block)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)

    def _unusable(self, reason: str) -> HomeError:
        run = self.path.resolve().parent.name
        return HomeError(
            f"The journal {self.path} must take every event, but cannot be written: {reason}. "
            f"Mend that, then go on with: sweep resume {run}"
        )


class Reader:
    """Reads a journal piecewise while another process appends to it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._offset = self._line = 0

    def new(self) -> list[Event]:
        """The events appended since the last call; a line still being written waits for the next one.

        A file that is not there (yet) has no events. Raises `RunError` naming a line that is not an event.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        events = [self._parse(number, line) for number, line in enumerate(whole.split(b"\n")[:-1], self._line + 1)]
        self._offset += len(whole)
        self._line += len(events)
        return events

    def _parse(self, number: int, line: bytes) -> Event:
        try:
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("event"), str) and "time" in event:
                return event
        except ValueError:
            pass  # told below, with the line that is at fault
        raise RunError(
            f"Every line of {self.path} must be a JSON object with `event` and `time`, "
            f"but line {number} is {line[:60]!r}. The file was damaged: restore it, or delete that line."
        )


def read(path: Path | str) -> Iterator[Event]:
    """Every complete event of a journal; a torn last line is left out. Raises `RunError` for a damaged line."""
    yield from Reader(path).new()


def follow(path: Path | str, stop: Callable[[], bool], poll_seconds: float = 0.2) -> Iterator[Event]:
    """Every event, then each new one as it comes, until `stop()` is true and nothing is left to read."""
    reader = Reader(path)
    while True:
        stopping = stop()  # asked before reading, so that what was appended before the stop is still told
        yield from reader.new()
        if stopping:
            return
        time.sleep(poll_seconds)
