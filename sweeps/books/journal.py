"""The journal of a run: every fact, appended once (docs/architecture.md lists the events).

`Journal` writes; `JournalReader`, `read` and `follow` read, from any process, also while it is
written. `sweeps.books.story.Story` is the picture that the events add up to.

The first line says the format. Every line ends with its number and its checksum
(`sweeps.books.sealed`), so that a damaged line and a lost one are seen: who reads refuses the
journal, who drives the run mends it (`sweeps.books.mending`).
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from sweeps import pasting
from sweeps.books import sealed
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import HomeError, RunError
from zoneout_core.records import EpochRecord, Metrics, Placement

Event = dict[str, Any]
"""`event` (its kind), `time` (Unix seconds), and the fields of that kind."""
FIELDS: dict[str, tuple[str, ...]] = {
    "driver": ("pid", "host", "mode"),
    "trial": ("trial", "params", "config", "metrics", "shape_key", "seed"),
    "placed": ("trial", *(f.name for f in fields(Placement))),
    "record": ("trial", "epoch", "updates", "metrics"),
    "end": ("trial", "state", "reason", "epoch"),
    "artifact": ("path", "name"),
    "warning": ("text",),
    "closed": ("state", "reason"),
}
"""What an event of each kind must have; one of another kind, of a later version, is read and
changes nothing."""
_HEADER = {"journal": "zoneout-sweeps", "format": sealed.FORMAT}


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that is not what was written there."""

    line: int
    """Its place in the file, from 1."""
    what: str
    """What is wrong, to be read after `line 7`."""
    data: bytes = b""


def as_event(record: EpochRecord) -> Event:
    """The event of a record."""
    return {"event": "record"} | record.to_json()


def asked(trial: int, params: Mapping[str, Any], config: TrialConfig, metrics: Metrics) -> Event:
    """The event of a trial that was asked for. All fields are told, also those that have their
    default today."""
    return {
        "event": "trial",
        "trial": trial,
        "params": dict(params),
        "config": config.to_json(),
        "metrics": metrics.to_json(),
        "shape_key": config.shape_key(),
        "seed": config.seed,
    }


class Journal:
    """Appends events to a file, one JSON object a line; a killed writer loses at most the line it
    was writing.

    Only the one driver of a run opens its journal. Opening creates the file, or cuts off a torn
    last line. Each event is one `write` on an O_APPEND descriptor, so it survives the death of the
    process at once; the disk is synced at most every `sync_seconds` (0 = after each event) and on
    closing, which bounds what a power cut can take.
    """

    def __init__(self, path: Path | str, sync_seconds: float = 1.0) -> None:
        """Raises `HomeError` when the file cannot be opened for appending."""
        self.path = Path(path)
        self._sync_seconds, self._synced, self._lock = sync_seconds, time.monotonic(), Lock()
        try:
            self._file = os.open(
                self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
            self._cut_torn_line()
            self._lines = self.path.read_bytes().count(b"\n")
            if self._lines == 0:
                self._write(_line(_HEADER, 1))
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def append(self, event: Event) -> Event:
        """Write one event, stamping `time` when it has none, and return it as written. Safe from
        several threads.

        Raises `HomeError` when the disk is full or the file is gone; the file then ends with the
        event before. Raises the standard `ValueError` for a number that is not finite: callers turn
        those into a failed trial first.
        """
        assert self._file >= 0, "the journal is closed"
        event = {"event": event["event"], "time": event.get("time", time.time()), **event}
        with self._lock:
            line = _line(event, self._lines + 1)
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
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
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
        self._lines += 1

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
        return HomeError(
            f"The journal {self.path} must take every event, but cannot be written: {reason}. "
            f"Mend that, then go on with: {pasting.on_run(self.path.parent, 'resume')}"
        )


class JournalReader:
    """Reads a journal piecewise while another process appends to it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._offset = self._line = 0
        self._file = 0

    def new(self) -> list[Event]:
        """The events appended since the last call; a line still being written waits for the next
        one.

        A file that is not there (yet) has no events. Raises `RunError` naming the first line that
        is damaged or lost, and for a journal of another format.
        """
        try:
            with self.path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if self._offset and inode != self._file:
                    raise RunError(
                        f"The journal {self.path} was mended while it was read. Read it again."
                    )
                self._file = inode
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        events = []
        for told in _examine(self.path, lines, self._line):
            if isinstance(told, Damage):
                raise _damaged(self.path, told)
            events.append(told)
        self._offset += len(whole)
        self._line += len(lines)
        return events


def read(path: Path | str) -> Iterator[Event]:
    """Every complete event of a journal; a torn last line is left out. Raises `RunError` for a
    damaged line."""
    yield from JournalReader(path).new()


def inspect(path: Path) -> tuple[list[Event], list[Damage]]:
    """The events of a journal that can be believed, in order, and what is damaged or lost. A
    missing file is whole.

    Raises `RunError` for a journal of another format.
    """
    if path.exists():
        data = path.read_bytes()
    else:
        data = b""
    events: list[Event] = []
    damages: list[Damage] = []
    for told in _examine(path, data.split(b"\n")[:-1], 0):
        if isinstance(told, Damage):
            damages.append(told)
        else:
            events.append(told)
    return events, damages


def rewrite(path: Path, events: Iterable[Event]) -> None:
    """Put a journal of these events in the place of the one at `path`, at once or not at all."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        for number, told in enumerate([_HEADER, *events], start=1):
            file.write(_line(told, number))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def follow(
    path: Path | str, stop: Callable[[], bool], poll_seconds: float = 0.2
) -> Iterator[Event]:
    """Every event, then each new one as it comes, until `stop()` is true and nothing is left to
    read."""
    reader = JournalReader(path)
    while True:
        stopping = (
            stop()
        )  # asked before reading, so that what was appended before the stop is still told
        yield from reader.new()
        if stopping:
            return
        time.sleep(poll_seconds)


def _line(event: Event, number: int) -> bytes:
    return sealed.seal(event | {"line": number}) + b"\n"


def _examine(path: Path, lines: Iterable[bytes], before: int) -> Iterator[Event | Damage]:
    """Each line as the event it is or as what is wrong with it; `before` lines of the file were
    sound."""
    expected, newest = before + 1, before
    for place, line in enumerate(lines, start=before + 1):
        try:
            event = _open(line)
        except ValueError as error:
            if place == 1:
                _refuse_format_1(path, line)
            yield Damage(place, str(error), line)
            expected += 1
            continue
        number = event.pop("line")
        if number <= newest:
            yield Damage(place, f"repeats line {number}", line)
            continue
        if number > expected:
            yield Damage(
                place, f"says that it is line {number}: {number - expected} before it are lost"
            )
        expected, newest = number + 1, number
        if "journal" not in event:
            yield event
        elif event.get("format") != sealed.FORMAT:
            raise RunError(
                f"This version reads journals of format {sealed.FORMAT}, but {path} is of format "
                f"{event.get('format')!r}. Read it with the version that wrote it."
            )


def _open(line: bytes) -> Event:
    """The event of a line. Raises the standard `ValueError` saying what is wrong with it."""
    event = sealed.unseal(line)
    if "line" not in event:
        raise ValueError("has no number")
    if "journal" in event:
        return event
    kind = event.get("event")
    lacking = [name for name in ("event", "time", *FIELDS.get(str(kind), ())) if name not in event]
    if lacking:
        raise ValueError(f"is a {kind} without {', '.join(lacking)}")
    return event


def _refuse_format_1(path: Path, line: bytes) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        return
    if isinstance(event, dict) and "event" in event and sealed.KEY not in event:
        raise RunError(
            f"This version reads journals of format {sealed.FORMAT}, but {path} is of format 1, of"
            " version 0.1. Read it with version 0.1, or begin a new run with: sweep run NAME"
        )


def _damaged(path: Path, damage: Damage) -> RunError:
    folder = path.absolute().parent
    return RunError(
        f"Every line of a journal must be as it was written, but line {damage.line} of {path}"
        f" {damage.what}. Mend it with: {pasting.on_run(folder, 'resume')}"
    )
