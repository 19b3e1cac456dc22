"""The journal of a run: every fact, appended once (`sweeps.books.events` has its kinds).

`Journal` writes; `JournalReader`, `read` and `follow` read, from any process, also while it is
written. `sweeps.books.story.Story` is the picture that the events add up to.

The first line says the format. Every line ends with its number and its checksum
(`sweeps.books.checksums`), so that a damaged line and a lost one are seen: who reads refuses the
journal, who drives the run mends it (`sweeps.books.mending`).
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from sweeps import pasting
from sweeps.books import checksums, events
from sweeps.books.events import Event
from zoneout_core.errors import HomeError, RunError
from zoneout_core.formats import FORMATS

FORMAT = FORMATS["journal.jsonl"]
_HEADER = {"journal": "zoneout-sweeps", "format": FORMAT}


class _Head(Struct):
    """What every line has, and what only the first one has."""

    line: int
    """Its number, from 1."""
    event: str = ""
    """Its kind."""
    journal: str | None = None
    """Whose journal it is; in the first line alone."""
    format: object = None


_read_head = msgspec.json.Decoder(_Head).decode


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that is not what was written there."""

    line: int
    """Its place in the file, from 1."""
    what: str
    """What is wrong, to be read after `line 7`."""
    data: bytes = b""


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
                self._write(_header())
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def append(self, event: Event) -> Event:
        """Write an event, stamping `time` when it has none, and return it as written. Safe from
        several threads.

        Raises `HomeError` when the disk is full or the file is gone; the file then ends with the
        event before. Raises the standard `ValueError` for a number that is not finite: callers turn
        those into a failed trial first.
        """
        assert self._file >= 0, "the journal is closed"
        if not event.time:
            event = events.stamped(event, time.time())
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
        end = data.rfind(b"\n") + 1
        lines = data[:end].split(b"\n")[:-1]
        new: list[Event] = []
        for read_line in _examine(self.path, lines, self._line):
            if isinstance(read_line, Damage):
                raise _damaged(self.path, read_line)
            new.append(read_line)
        self._offset += end
        self._line += len(lines)
        return new


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
    sound: list[Event] = []
    damages: list[Damage] = []
    for read_line in _examine(path, data.split(b"\n")[:-1], 0):
        if isinstance(read_line, Damage):
            damages.append(read_line)
        else:
            sound.append(read_line)
    return sound, damages


def rewrite(path: Path, kept: Iterable[Event]) -> None:
    """Put a journal of these events in the place of the one at `path`, at once or not at all."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(_header())
        for number, event in enumerate(kept, start=2):
            file.write(_line(event, number))
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
        # Asked before reading, so that what was appended before the stop is still read.
        stopping = stop()
        yield from reader.new()
        if stopping:
            return
        time.sleep(poll_seconds)


def _header() -> bytes:
    return checksums.seal(msgspec.json.encode(_HEADER | {"line": 1})) + b"\n"


def _line(event: Event, number: int) -> bytes:
    return checksums.seal(events.encode(event)[:-1] + b',"line":%d}' % number) + b"\n"


def _examine(path: Path, lines: Iterable[bytes], before: int) -> Iterator[Event | Damage]:
    """Each line as the event it is or as what is wrong with it; `before` lines of the file were
    sound."""
    expected, newest = before + 1, before
    for place, line in enumerate(lines, start=before + 1):
        try:
            head, event = _open(line)
        except ValueError as error:
            if place == 1:
                _refuse_format_1(path, line)
            yield Damage(place, str(error), line)
            expected += 1
            continue
        if head.journal is not None and head.format != FORMAT:
            raise RunError(
                f"This version reads journals of format {FORMAT}, but {path} is of format "
                f"{head.format!r}. Read it with the version that wrote it."
            )
        number = head.line
        if number <= newest:
            yield Damage(place, f"repeats line {number}", line)
            continue
        if number > expected:
            yield Damage(
                place, f"says that it is line {number}: {number - expected} before it are lost"
            )
        expected, newest = number + 1, number
        if event is not None:
            yield event


def _open(line: bytes) -> tuple[_Head, Event | None]:
    """What a line says; the one that says the format has no event.

    Raises the standard `ValueError` saying what is wrong with it.
    """
    content = checksums.unseal(line)
    try:
        head = _read_head(content)
    except msgspec.ValidationError as error:
        raise ValueError(f"has no number ({error})") from error
    if head.journal is not None:
        return head, None
    try:
        event = events.decode(head.event, content)
    except ValueError as error:
        raise ValueError(f"is no {head.event or 'event'} that can be read ({error})") from error
    if not event.time:
        raise ValueError(f"is a {head.event} without its time")
    return head, event


def _refuse_format_1(path: Path, line: bytes) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        return
    if isinstance(event, dict) and "event" in event and checksums.KEY not in event:
        raise RunError(
            f"This version reads journals of format {FORMAT}, but {path} is of format 1, of"
            " version 0.1. Read it with version 0.1, or begin a new run with: sweep run NAME"
        )


def _damaged(path: Path, damage: Damage) -> RunError:
    folder = path.absolute().parent
    return RunError(
        f"Every line of a journal must be as it was written, but line {damage.line} of {path}"
        f" {damage.what}. Mend it with: {pasting.on_run(folder, 'resume')}"
    )
