"""The story of a run: a pure fold of its journal's events, without any clock, file lock or process.

Export, status, delivery to MLflow and resume all read a run through `Story`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from sweeps.books import events
from sweeps.books.events import (
    ArtifactEvent,
    ClosedEvent,
    DriverEvent,
    EndEvent,
    Event,
    PlacedEvent,
    RecordEvent,
    RunEnd,
    TrialEvent,
    WarningEvent,
)
from sweeps.books.journal import read
from sweeps.files import is_inside
from zoneout_core.errors import RunError
from zoneout_core.records import EpochRecord, Metrics, Number, TrialState

RunState = Literal["new", "running"] | RunEnd
_QUOTED = 300  # characters of a refused line that are shown


@dataclass(slots=True)
class TrialStory:
    """What the journal says about one trial."""

    trial: int
    params: dict[str, object]
    """The searched hyperparameters alone."""
    config: dict[str, object]
    """The complete configuration, `TrialConfig.to_json()`."""
    metrics: Metrics
    """What it reports, as its task said when the trial was asked for."""
    shape_key: str
    seed: int
    asked: float
    """When the trial was asked for, in Unix seconds like all times here."""
    state: TrialState = TrialState.WAITING
    reason: str = ""
    placement: PlacedEvent | None = None
    """The last one; None before any lane server took it."""
    started: float | None = None
    """When it was first placed."""
    ended: float | None = None
    """When it finished; None for a trial that has not, an interrupted one included."""
    records: dict[int, RecordEvent] = field(default_factory=dict)
    """By epoch, ascending. The first record of an epoch counts."""

    @property
    def epochs(self) -> int:
        """How many epochs it is to train."""
        epochs = self.config["epochs"]
        assert isinstance(epochs, int), epochs
        return epochs

    @property
    def epoch(self) -> int:
        """The last epoch with a record; 0 = none."""
        return max(self.records, default=0)

    @property
    def final(self) -> dict[str, Number] | None:
        """`metrics.final` and `best_epoch` of a complete trial."""
        for record in reversed(self.records.values()):
            if record.final is not None:
                return record.final
        return None

    @property
    def best(self) -> RecordEvent | None:
        """The record with the lowest objective, the earliest of equals."""
        return self.metrics.best(list(self.records.values()))

    @property
    def best_value(self) -> float | None:
        """The lowest objective so far."""
        best = self.best
        if best is None:
            return None
        return self.value(best)

    def value(self, record: EpochRecord) -> float:
        """The objective in one of its records."""
        return record.metrics[self.metrics.objective]


class Story:
    """The fold of a run's events: feed them in order to `add`; the same events give the same story.

    A trial that has not finished is INTERRUPTED once its driver said `closed` or another driver
    took the run, and RUNNING again when it is placed again. A killed driver says nothing, so
    whoever sees the run's lock free calls `interrupt`. `counts`, `best` and `TrialStory.best` work
    on copies, because another thread may add events meanwhile.
    """

    def __init__(self, journal: Iterable[Event] = ()) -> None:
        self.trials: dict[int, TrialStory] = {}
        """By number, in the order they were asked for."""
        self.driver: DriverEvent | None = None
        """The last driver."""
        self.closed: ClosedEvent | None = None
        """How that driver left; None while it drives, or if it died."""
        self.artifacts: dict[str, ArtifactEvent] = {}
        """The last artifact of each name."""
        self.warnings: list[str] = []
        self.began: float | None = None
        """Time of the first event."""
        self.latest: float | None = None
        """Time of the last event."""
        for event in journal:
            self.add(event)

    @classmethod
    def of(cls, path: Path | str) -> Self:
        """The story of a journal file; empty when there is none. Raises `RunError` for a damaged
        line."""
        return cls(read(path))

    @property
    def state(self) -> RunState:
        """`new` (no driver yet), `running`, or how the last driver left: `finished`, `interrupted`,
        `budget`, `failed`.

        A killed driver still counts as `running`; only who sees the run's lock free knows better.
        """
        if self.closed is not None:
            return self.closed.state
        if self.driver is None:
            return "new"
        return "running"

    @property
    def metrics(self) -> Metrics | None:
        """What its trials report; None before the first."""
        for trial in list(self.trials.values()):
            return trial.metrics
        return None

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials stand in each state."""
        return Counter(trial.state for trial in list(self.trials.values()))

    @property
    def best(self) -> TrialStory | None:
        """The trial with the lowest objective so far, the first of equals; failed trials do not
        count."""
        best: tuple[float, int] | None = None
        for trial in list(self.trials.values()):
            value = trial.best_value
            if value is None or trial.state is TrialState.FAILED:
                continue
            if best is None or (value, trial.trial) < best:
                best = (value, trial.trial)
        if best is None:
            return None
        return self.trials[best[1]]

    def interrupt(self, reason: str) -> None:
        """Note that the driver died: the run and every trial that has not finished are
        INTERRUPTED."""
        self._leave(ClosedEvent(state="interrupted", reason=reason, time=self.latest or 0.0))

    def _leave(self, closed: ClosedEvent) -> None:
        self.closed = closed
        for trial in self.trials.values():
            if not trial.state.finished:
                trial.state, trial.reason = TrialState.INTERRUPTED, closed.reason

    def add(self, event: Event) -> None:
        """Take in the next event. An event of an unknown kind changes nothing.

        Raises `RunError` for an event of a trial that was never asked for, and for a record that
        skips an epoch.
        """
        if self.began is None:
            self.began = event.time
        self.latest = event.time
        match event:
            case DriverEvent():
                self.interrupt("another driver took the run")
                self.driver = event
                self.closed = None
            case TrialEvent():
                self.trials.setdefault(event.trial, _new(event))
            case PlacedEvent():
                _place(self._trial(event.trial), event)
            case RecordEvent():
                _record(self._trial(event.trial), event)
            case EndEvent():
                _end(self._trial(event.trial), event)
            case ArtifactEvent():
                self._add_artifact(event)
            case WarningEvent():
                self.warnings.append(event.text)
            case ClosedEvent():
                self._leave(event)

    def _trial(self, number: int) -> TrialStory:
        trial = self.trials.get(number)
        if trial is None:
            raise _gap(f"trial {number}", "it was asked for")
        return trial

    def _add_artifact(self, event: ArtifactEvent) -> None:
        if is_inside(event.name) and is_inside(event.path):
            self.artifacts[event.name] = event
            return
        line = events.encode(event).decode()[:_QUOTED]
        self.warnings.append(
            f"A file of a run lies in its folder, so this line of the journal is left out: {line}"
        )


def _new(event: TrialEvent) -> TrialStory:
    return TrialStory(
        trial=event.trial,
        params=event.params,
        config=event.config,
        metrics=event.metrics,
        shape_key=event.shape_key,
        seed=event.seed,
        asked=event.time,
    )


def _place(trial: TrialStory, event: PlacedEvent) -> None:
    trial.placement = event
    if trial.started is None:
        trial.started = event.time
    if not trial.state.finished:
        trial.state, trial.reason = TrialState.RUNNING, ""


def _record(trial: TrialStory, event: RecordEvent) -> None:
    if event.epoch > trial.epoch + 1:
        raise _gap(f"epoch {event.epoch} of trial {trial.trial}", f"epoch {trial.epoch + 1}")
    trial.records.setdefault(event.epoch, event)


def _end(trial: TrialStory, event: EndEvent) -> None:
    if not trial.state.finished:  # the first end counts
        trial.state, trial.reason = event.state, event.reason
        trial.ended = event.time


def _gap(what: str, lacking: str) -> RunError:
    return RunError(
        "A journal must have each trial's events in order, but this one has"
        f" {what} before {lacking}."
    )
