"""The picture that a run's journal adds up to: a pure fold of its events, without any clock, file
lock or process.

Export, status, delivery to MLflow and resume all read a run through `Story`.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from sweeps.books.journal import Event, read
from sweeps.files import is_inside
from zoneout_core import tasks
from zoneout_core.errors import RunError
from zoneout_core.records import EpochRecord, Metrics, Placement, TrialState

_RECORD_FIELDS = tuple(f.name for f in fields(EpochRecord))
_PLACEMENT_FIELDS = tuple(f.name for f in fields(Placement))
_QUOTED = 300  # characters of a line that is refused


@dataclass(slots=True)
class TrialStory:
    """What the journal says of one trial."""

    trial: int
    params: dict[str, Any]
    """The searched hyperparameters alone."""
    config: dict[str, Any]
    """All of it: `TrialConfig.to_json()`."""
    metrics: Metrics
    """What it reports, as its task said when it was asked for."""
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
    def epochs(self) -> int:
        """How many it is to train."""
        return int(self.config["epochs"])

    @property
    def epoch(self) -> int:
        """The last epoch with a record; 0 = none."""
        return max(self.records, default=0)

    @property
    def final(self) -> dict[str, float] | None:
        """`metrics.final` and `best_epoch` of a complete trial."""
        return next((r.final for r in reversed(self.records.values()) if r.final is not None), None)

    @property
    def best(self) -> EpochRecord | None:
        """The record with the lowest objective, the earliest of equals."""
        return min(
            list(self.records.values()), key=lambda r: (self.value(r), r.epoch), default=None
        )

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

    def row(self) -> dict[str, Any]:
        """One plain, JSON-ready row: what `sweep export` writes and `analysis.load.from_rows`
        reads."""
        return {
            "trial": self.trial,
            "seed": self.seed,
            "state": str(self.state),
            "reason": self.reason,
            "shape_key": self.shape_key,
            "epoch": self.epoch,
            "params": dict(self.params),
            "config": self.config,
            "final": self.final,
            "records": [
                {"epoch": r.epoch, "updates": r.updates, **r.metrics} for r in self.records.values()
            ],
        }


class Story:
    """The fold of a run's events: feed them in order to `add`; the same events give the same story.

    A trial that has not finished is INTERRUPTED once its driver said `closed` or another driver
    took the run, and RUNNING again when it is placed again. A driver killed outright says nothing:
    whoever sees its lock free calls `interrupt`. `counts`, `best` and `TrialStory.best` go over
    copies: another thread may add events meanwhile.
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
        self.told: float | None = None
        """Time of the last event."""
        for event in events:
            self.add(event)

    @classmethod
    def of(cls, path: Path | str) -> Self:
        """The story of a journal file; empty when there is none. Raises `RunError` for a damaged
        line."""
        return cls(read(path))

    @property
    def state(self) -> str:
        """`new` (no driver yet), `running`, or how the last driver left: `finished`, `interrupted`,
        `budget`, `failed`.

        A driver that was killed never left: whoever sees the run's lock free knows better than
        `running`.
        """
        if self.closed is not None:
            return str(self.closed["state"])
        if self.driver is None:
            return "new"
        return "running"

    @property
    def metrics(self) -> Metrics | None:
        """What its trials report; None before the first."""
        return next((trial.metrics for trial in list(self.trials.values())), None)

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials stand in each state."""
        return Counter(t.state for t in list(self.trials.values()))

    @property
    def best(self) -> TrialStory | None:
        """The trial with the lowest objective so far among those that did not fail, the first of
        equals."""
        sound = (t for t in list(self.trials.values()) if t.state is not TrialState.FAILED)
        told = [(value, trial.trial) for trial in sound if (value := trial.best_value) is not None]
        if told:
            return self.trials[min(told)[1]]
        return None

    def rows(self) -> list[dict[str, Any]]:
        """`TrialStory.row` of every trial, by number."""
        return [self.trials[number].row() for number in sorted(self.trials)]

    def interrupt(self, reason: str) -> None:
        """The driver is gone without a word: the run and every trial that has not finished are
        INTERRUPTED."""
        self._leave(
            {"event": "closed", "time": self.told, "state": "interrupted", "reason": reason}
        )

    def _leave(self, closed: Event) -> None:
        self.closed = closed
        for trial in self.trials.values():
            if not trial.state.finished:
                trial.state, trial.reason = TrialState.INTERRUPTED, closed["reason"]

    def add(self, event: Event) -> None:
        """Take in the next event; kinds that this version does not know change nothing.

        Raises `RunError` for an event of a trial that was never asked for, and for a record that
        leaves out an epoch.
        """
        if self.began is None:
            self.began = event["time"]
        else:
            self.began = self.began
        self.told = event["time"]
        match event["event"]:
            case "driver":
                self.interrupt("another driver took the run")
                self.driver, self.closed = event, None
            case "trial":
                told = {
                    key: event[key] for key in ("trial", "params", "config", "shape_key", "seed")
                }
                told |= {"metrics": _metrics(event), "asked": event["time"]}
                self.trials.setdefault(event["trial"], TrialStory(**told))
            case "placed" | "record" | "end":
                trial = self.trials.get(event["trial"])
                if trial is None:
                    raise _gap(f"trial {event['trial']}", "it was asked for")
                self._add_to_trial(trial, event)
            case "artifact" if is_inside(event["name"]) and is_inside(event["path"]):
                self.artifacts[event["name"]] = event
            case "artifact":
                line = json.dumps(event)[:_QUOTED]
                self.warnings.append(
                    "A file of a run lies in its folder, so this line of the journal is left out:"
                    f" {line}"
                )
            case "warning":
                self.warnings.append(event["text"])
            case "closed":
                self._leave(event)

    @staticmethod
    def _add_to_trial(trial: TrialStory, event: Event) -> None:
        match event["event"]:
            case "placed":
                trial.placement = Placement(**{key: event[key] for key in _PLACEMENT_FIELDS})
                if trial.started is None:
                    trial.started = event["time"]
                else:
                    trial.started = trial.started
                if not trial.state.finished:
                    trial.state, trial.reason = TrialState.RUNNING, ""
            case "record":
                record = EpochRecord(**{key: event[key] for key in _RECORD_FIELDS if key in event})
                if record.epoch > trial.epoch + 1:
                    raise _gap(
                        f"epoch {record.epoch} of trial {trial.trial}", f"epoch {trial.epoch + 1}"
                    )
                if record.epoch not in trial.records:
                    trial.records[record.epoch], trial.times[record.epoch] = record, event["time"]
            case "end":
                if not trial.state.finished:  # once per trial: the first end stands
                    trial.state, trial.reason = TrialState(event["state"]), event["reason"]
                    trial.ended = event["time"]


def _gap(what: str, lacking: str) -> RunError:
    return RunError(
        f"A journal tells of every trial in order, but this one tells of {what} before {lacking}."
    )


def _metrics(asked: Event) -> Metrics:
    """What a trial reports; one that does not say it reports what its task says today."""
    told = asked.get("metrics")
    if told is None:
        return tasks.get(asked["config"]["task"]).metrics
    return _known(json.dumps(told))


@functools.cache
def _known(told: str) -> Metrics:
    """One object for all trials of a task."""
    return Metrics.from_json(json.loads(told))
