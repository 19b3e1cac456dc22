"""The lane server: owns one device, trains trials as lanes of packs, and refills a lane the moment it is free.

A plain class. `sweeps.lane_actor` puts it into a Ray actor; `sweep run --inline` calls it directly. Its one loop is
`advance`, always called by the same thread; `submit`, `release` and `next` may be called by others, since they only
leave messages. What it tells are journal events as plain data, per trial and in order:
`placed`, `record`, `record`, ..., `end`.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Condition
from typing import Any, Protocol

from sweeps.journal import Event, as_event
from zoneout_core.config import TrialConfig
from zoneout_core.errors import CheckpointError
from zoneout_core.records import EpochRecord, LaneEnd, Placement, TrialState

AHEAD = 2
"""Epochs that a pack may run past what a client has read: two keep lanes busy while a report is on its way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """What a lane server needs to know of its run; plain data, so that it can be sent to a node."""

    lanes: int
    device: str
    threads: int
    data: Path
    checkpoints: Path
    checkpoint_epochs: int = 1
    idle: bool = False
    """Trials do no work: to measure what they cost besides training."""


class Trainer(Protocol):
    """What trains the lanes of one shape: `sweeps.training.PackTrainer`, or `sweeps.idle.IdleTrainer`."""

    def placement(self, config: TrialConfig) -> Placement:
        """Where and how a trial of this configuration trains here."""

    def admit(self, trial: int, config: TrialConfig) -> list[EpochRecord | LaneEnd]:
        """Take a trial in, from its checkpoint if it has one; what it had told before comes back."""

    def step(self) -> list[EpochRecord | LaneEnd]:
        """One update of every lane. A trial that completed with it can still be saved until the next one."""

    def save(self, trial: int) -> None:
        """Write the trial's checkpoint. Raises `CheckpointError`; the one before is intact then."""

    def evict(self, trial: int) -> None:
        """Let a trial go."""


class LaneServer:
    """Packs of lanes on one device, and the messages to and from them."""

    def __init__(
        self,
        build: Callable[[TrialConfig, int], Trainer],
        *,
        lanes: int,
        checkpoint_epochs: int = 1,
        lease_seconds: float = float("inf"),
    ) -> None:
        """`build(config, capacity)` makes the trainer of a new shape. At most `lanes` trials train at a time, all
        packs together. A trial whose client has not called `next` for `lease_seconds` gives its lane back.
        """
        self._build = build
        self._lanes = lanes
        self._checkpoint_epochs = checkpoint_epochs
        self._lease_seconds = lease_seconds
        self._trainers: dict[str, Trainer] = {}
        self._shape_of: dict[int, str] = {}  # live trials
        self._told: dict[int, list[Event]] = {}  # all events of live and just ended trials
        self._inbox: deque[tuple[str, int, Any]] = deque()
        self._waiting: dict[int, TrialConfig] = {}
        self._outbox: dict[int, deque[Event]] = {}
        self._seen: dict[int, float] = {}
        self._unsent: list[tuple[int, Event]] = []
        self._news = Condition()

    # ---- called by clients

    def submit(self, trial: int, config: dict[str, Any]) -> None:
        """Ask for a lane. Idempotent: a trial that is here already keeps its lane and tells everything again."""
        self._seen[trial] = time.monotonic()
        with self._news:  # what a client that died left unread would come before what it had read
            self._outbox.pop(trial, None)
        self._inbox.append(("submit", trial, config))

    def release(self, trial: int) -> None:
        """Give the trial's lane back; unknown trials are none of our business."""
        self._inbox.append(("release", trial, None))

    def next(self, trial: int, timeout_seconds: float = 0.0) -> list[Event] | None:
        """The trial's events since the last call, waiting up to `timeout_seconds` for one.

        None: it is not here, because it was released, its lease expired, or this server is a restarted one. Who still
        waits when the trial is submitted again, a client that died, takes nothing from the one that follows it.
        """
        if trial not in self._seen:
            return None
        self._touch(trial)
        with self._news:
            outbox = self._outbox.get(trial)
            self._news.wait_for(lambda: bool(outbox) or self._outbox.get(trial) is not outbox, timeout_seconds)
            events = list(outbox or ())
            if outbox:
                outbox.clear()
        self._touch(trial)
        return events

    # ---- called by the one thread that trains

    def advance(self) -> bool:
        """Read messages, fill free lanes, and make one update of each pack. False when there was nothing to train."""
        while self._inbox:
            kind, trial, config = self._inbox.popleft()
            if kind == "submit":
                self._accept(trial, TrialConfig.from_json(config))
            else:
                self._forget(trial)
        self._expire()
        while self._waiting and len(self._shape_of) < self._lanes:
            trial = next(iter(self._waiting))
            self._admit(trial, self._waiting.pop(trial))
        busy = [shape for shape in dict.fromkeys(self._shape_of.values()) if self._has_credit(shape)]
        for shape in busy:
            self._step(shape)
        self._publish()
        return bool(busy)

    @property
    def trials(self) -> list[int]:
        """Trials that were submitted and not yet released."""
        return list(self._seen)

    def _touch(self, trial: int) -> None:
        if trial in self._seen:  # a released trial stays forgotten
            self._seen[trial] = time.monotonic()

    def _accept(self, trial: int, config: TrialConfig) -> None:
        with self._news:
            self._outbox[trial] = deque(self._told.get(trial, ()))
            self._news.notify_all()
        if trial not in self._shape_of and trial not in self._told:
            self._waiting[trial] = config

    def _forget(self, trial: int) -> None:
        self._waiting.pop(trial, None)
        self._vacate(trial)
        self._told.pop(trial, None)
        self._seen.pop(trial, None)
        with self._news:
            self._outbox.pop(trial, None)

    def _vacate(self, trial: int) -> None:
        shape = self._shape_of.pop(trial, None)
        if shape is not None:
            self._trainers[shape].evict(trial)
            if shape not in self._shape_of.values():
                del self._trainers[shape]  # an empty pack gives its memory back

    def _expire(self) -> None:
        now = time.monotonic()
        for trial in [*self._shape_of, *self._waiting]:
            if now - self._seen.get(trial, now) > self._lease_seconds:
                self._forget(trial)

    def _admit(self, trial: int, config: TrialConfig) -> None:
        shape = config.shape_key()
        try:
            if shape not in self._trainers:
                self._trainers[shape] = self._build(config, self._lanes)
            trainer = self._trainers[shape]
            self._tell(trial, {"event": "placed", "trial": trial} | asdict(trainer.placement(config)))
            told = trainer.admit(trial, config)
        except Exception as error:
            self._fail(trial, error)
            return
        self._shape_of[trial] = shape
        self._take(told, shape, save=False)

    def _step(self, shape: str) -> None:
        try:
            self._take(self._trainers[shape].step(), shape)
        except Exception as error:  # of the pack as a whole: none of its lanes can go on
            for trial in [trial for trial, its in self._shape_of.items() if its == shape]:
                self._fail(trial, error)
                self._shape_of.pop(trial)
            self._trainers.pop(shape, None)

    def _take(self, told: list[EpochRecord | LaneEnd], shape: str, *, save: bool = True) -> None:
        for item in told:
            if isinstance(item, EpochRecord):
                if save and (item.final or item.epoch % self._checkpoint_epochs == 0):
                    self._save(item.trial, shape)
                self._tell(item.trial, as_event(item))
            else:
                self._tell(item.trial, {"event": "end"} | asdict(item) | {"state": str(item.state)})
                self._vacate(item.trial)

    def _save(self, trial: int, shape: str) -> None:
        try:
            self._trainers[shape].save(trial)
        except CheckpointError as error:  # the numbers are right all the same: train on, and say it
            self._tell(trial, {"event": "warning", "trial": trial, "text": str(error)})

    def _fail(self, trial: int, error: Exception) -> None:
        end = LaneEnd(trial=trial, state=TrialState.FAILED, reason=f"{type(error).__name__}: {error}")
        self._tell(trial, {"event": "end"} | asdict(end) | {"state": str(end.state)})

    def _tell(self, trial: int, event: Event) -> None:
        event = {"event": event["event"], "time": time.time()} | event
        self._told.setdefault(trial, []).append(event)
        self._unsent.append((trial, event))

    def _publish(self) -> None:
        """Send what was told since the last time, all at once: a client's every answer is a report to Tune."""
        with self._news:
            for trial, event in self._unsent:
                if trial in self._outbox:
                    self._outbox[trial].append(event)
            self._unsent.clear()
            self._news.notify_all()

    def _has_credit(self, shape: str) -> bool:
        trials = [trial for trial, its in self._shape_of.items() if its == shape]
        return all(self._unread(trial) < AHEAD for trial in trials)

    def _unread(self, trial: int) -> int:
        with self._news:
            return sum(event["event"] == "record" for event in self._outbox.get(trial, ()))


def build_server(options: ServerOptions, lease_seconds: float = float("inf")) -> LaneServer:
    """The lane server that `options` describe. Raises `ConfigError` for a device that is not there."""
    build: Callable[[TrialConfig, int], Trainer]
    if options.idle:
        from sweeps.idle import IdleTrainer as build
    else:  # torch loads here: in the process that trains, and nowhere else
        from sweeps.training import pack_builder

        build = pack_builder(options.data, options.checkpoints, options.device, options.threads)
    return LaneServer(
        build, lanes=options.lanes, checkpoint_epochs=options.checkpoint_epochs, lease_seconds=lease_seconds
    )
