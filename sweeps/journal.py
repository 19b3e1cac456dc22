"""The journal of a run: every fact, appended once, and the picture that its events add up to.

`Journal` writes; `Reader`, `read` and `follow` read, from any process, also while it is written; `Story` is the pure
fold of the events that export, status, delivery to MLflow and resume all use. docs/architecture.md lists the events.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from zoneout_core.errors import HomeError, RunError
from zoneout_core.records import OBJECTIVE, EpochRecord, Placement, TrialState

Event = dict[str, Any]
"""`event` (its kind), `time` (Unix seconds), and the fields of that kind."""

_RECORD_FIELDS = tuple(f.name for f in fields(EpochRecord))
_PLACEMENT_FIELDS = tuple(f.name for f in fields(Placement))


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
            written = os.write(self._file, line)
            if written < len(line):  # a nearly full disk takes a part first, and says why on the next write
                os.write(self._file, line[written:])
                if os.fstat(self._file).st_size != status.st_size + len(line):
                    raise OSError(0, "the disk took only a part of the line")
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
        events = [self._parse(number, line) for number, line in enumerate(whole.splitlines(), self._line + 1)]
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


@dataclass(slots=True)
class TrialStory:
    """What the journal says of one trial."""

    trial: int
    params: dict[str, Any]
    """The searched hyperparameters alone."""
    config: dict[str, Any]
    """`TrialConfig.to_json()`."""
    shape_key: str
    seed: int
    asked: float
    """When the trial was asked for, Unix seconds, as all times here."""
    state: TrialState = TrialState.WAITING
    reason: str = ""
    placement: Placement | None = None
    """The last one; None before any lane server took it."""
    started: float | None = None
    """When it was first placed."""
    ended: float | None = None
    """When it finished; None while it has not, also when interrupted."""
    records: dict[int, EpochRecord] = field(default_factory=dict)
    """By epoch, ascending; the first one told wins."""
    times: dict[int, float] = field(default_factory=dict)
    """When each record was told, by epoch."""

    @property
    def epoch(self) -> int:
        """The last epoch with a record; 0 = none."""
        return max(self.records, default=0)

    @property
    def final(self) -> dict[str, float] | None:
        """`FINAL_METRICS` and `best_epoch` of a complete trial."""
        return next((r.final for r in reversed(self.records.values()) if r.final is not None), None)

    @property
    def best(self) -> EpochRecord | None:
        """The record with the lowest objective, the earliest of equals."""
        return min(self.records.values(), key=lambda r: (r.metrics[OBJECTIVE], r.epoch), default=None)

    def row(self) -> dict[str, Any]:
        """One plain, JSON-ready row: what `sweep export` writes and `analysis.load.from_rows` reads."""
        return {
            "trial": self.trial,
            "seed": self.seed,
            "state": str(self.state),
            "reason": self.reason,
            "shape_key": self.shape_key,
            "epoch": self.epoch,
            "params": dict(self.params),
            "final": self.final,
            "records": [{"epoch": r.epoch, "steps": r.steps, **r.metrics} for r in self.records.values()],
        }


class Story:
    """The fold of a run's events: feed them in order to `add`; the same events give the same story.

    A trial that has not finished is INTERRUPTED once its driver said `closed` or another driver took the run, and
    RUNNING again when it is placed again. A driver killed outright says nothing: whoever sees its lock free calls
    `interrupt`.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.trials: dict[int, TrialStory] = {}
        """By number, in the order they were asked for."""
        self.driver: Event | None = None
        """The last `driver` event."""
        self.closed: Event | None = None
        """The `closed` event of that driver; None while it drives, or if it died."""
        self.artifacts: dict[str, Event] = {}
        """The last `artifact` event of each name."""
        self.warnings: list[str] = []
        self.began: float | None = None
        """Time of the first event."""
        for event in events:
            self.add(event)

    @classmethod
    def of(cls, path: Path | str) -> Self:
        """The story of a journal file; empty when there is none. Raises `RunError` for a damaged line."""
        return cls(read(path))

    @property
    def state(self) -> str:
        """`new` (no driver yet), `running`, or how the last driver left: `finished`, `interrupted`, `budget`, `failed`."""
        if self.closed is not None:
            return str(self.closed["state"])
        return "new" if self.driver is None else "running"

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials stand in each state."""
        return Counter(t.state for t in self.trials.values())

    @property
    def best(self) -> TrialStory | None:
        """The trial with the lowest objective so far among those that did not fail, the first of equals."""
        told = [(t.best.metrics[OBJECTIVE], t.trial) for t in self.trials.values() if _counts(t) and t.best]
        return self.trials[min(told)[1]] if told else None

    def rows(self) -> list[dict[str, Any]]:
        """`TrialStory.row` of every trial, by number."""
        return [self.trials[number].row() for number in sorted(self.trials)]

    def interrupt(self, reason: str) -> None:
        """Every trial that has not finished is INTERRUPTED: its driver is gone."""
        for trial in self.trials.values():
            if not trial.state.finished:
                trial.state, trial.reason = TrialState.INTERRUPTED, reason

    def add(self, event: Event) -> None:
        """Take in the next event; kinds that this version does not know change nothing."""
        self.began = event["time"] if self.began is None else self.began
        match event["event"]:
            case "driver":
                self.interrupt("another driver took the run")
                self.driver, self.closed = event, None
            case "trial":
                told = {key: event[key] for key in ("trial", "params", "config", "shape_key", "seed")}
                self.trials.setdefault(event["trial"], TrialStory(**told, asked=event["time"]))
            case "placed" | "record" | "end":
                self._add_to_trial(self.trials[event["trial"]], event)
            case "artifact":
                self.artifacts[event["name"]] = event
            case "warning":
                self.warnings.append(event["text"])
            case "closed":
                self.interrupt(event["reason"])
                self.closed = event

    @staticmethod
    def _add_to_trial(trial: TrialStory, event: Event) -> None:
        match event["event"]:
            case "placed":
                trial.placement = Placement(**{key: event[key] for key in _PLACEMENT_FIELDS})
                trial.started = event["time"] if trial.started is None else trial.started
                if not trial.state.finished:
                    trial.state, trial.reason = TrialState.RUNNING, ""
            case "record":
                record = EpochRecord(**{key: event[key] for key in _RECORD_FIELDS if key in event})
                if record.epoch not in trial.records:
                    trial.records[record.epoch], trial.times[record.epoch] = record, event["time"]
            case "end":
                if not trial.state.finished:  # once per trial: the first end stands
                    trial.state, trial.reason = TrialState(event["state"]), event["reason"]
                    trial.ended = event["time"]


def _counts(trial: TrialStory) -> bool:
    return trial.state is not TrialState.FAILED
