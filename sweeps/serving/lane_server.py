"""The lane server: owns one device, trains trials as lanes of packs, and refills a lane the moment
it is free.

It is a plain class. `sweeps.drivers.lane_actor` puts it into a Ray actor; `sweep run --inline`
calls it directly. One thread trains, by calling `advance`; other threads may call `submit`,
`release` and `next`, which only leave and fetch messages. It reports journal events, per trial and
in order: `placed`, `record`, `record`, ..., `end`, and a `warning` where a person should know
something. The journal stamps their times.

An error of one lane ends that lane alone. Where an update of several lanes raises, each continues
alone from its checkpoint, and only a trial that fails alone has failed
(`sweeps.serving.isolation`).
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition
from typing import NamedTuple, Protocol, assert_never

from sweeps.books.events import EndEvent, LaneEvent, PlacedEvent, RecordEvent, WarningEvent
from sweeps.serving.isolation import Isolation, in_words
from zoneout_core.config import registry
from zoneout_core.config.plugins import Plugins
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError, PluginError
from zoneout_core.records import EpochRecord, LaneEnd, LaneWarning, Placement, TrialState

AHEAD = 2
"""Epochs that a pack may be ahead of what its clients have read. Two keep the lanes busy while a
report is on its way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """What a lane server needs to know about its run, as plain data that can be sent to a node."""

    lanes: int
    device: str
    threads: int
    data: Path
    checkpoints: Path
    checkpoint_epochs: int = 1
    idle: bool = False
    """Trials do no work, to measure what they cost besides training."""
    products: Path | None = None
    """The run's folder that says which matrix product is the fastest on each machine."""
    force: bool = False
    """Train in a precision that the processor has to emulate."""
    plugins: Plugins = field(default_factory=Plugins)
    """The user's own code. It travels with this message, so a node needs no folder."""
    plugin_hashes: Mapping[str, str] = field(default_factory=dict)
    """See `RunFolder.plugin_hashes`."""


class Trainer(Protocol):
    """What trains the lanes of one shape: `sweeps.serving.pack_trainer.PackTrainer`, or
    `sweeps.serving.idle_trainer.IdleTrainer`."""

    def placement(self, config: TrialConfig) -> Placement:
        """Where and how a trial of this configuration trains here."""

    def admit(self, trial: int, config: TrialConfig) -> list[EpochRecord | LaneEnd | LaneWarning]:
        """Take a trial in, from its checkpoint if it has one. Returns what it had reported
        before."""

    def step(self) -> list[EpochRecord | LaneEnd]:
        """Make one update of every lane. A trial that completes can be saved until the next update;
        one that fails cannot. A trainer whose update raised is not used again."""

    def save(self, trial: int) -> None:
        """Write the trial's checkpoint. Raises `CheckpointError`, and leaves the one before
        intact."""

    def evict(self, trial: int) -> None:
        """Remove a trial."""


class _Submitted(NamedTuple):
    trial: int
    config: TrialConfig | dict[str, object]
    """`TrialConfig.to_json()`."""


class _Released(NamedTuple):
    trial: int


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
        """`build(config, capacity)` makes the trainer of a new shape. At most `lanes` trials train
        at a time, in all packs together. A trial loses its lane when its client has not called
        `next` for `lease_seconds`.
        """
        self._build = build
        self._lanes = lanes
        self._checkpoint_epochs = checkpoint_epochs
        self._lease_seconds = lease_seconds
        self._trainers: dict[str, Trainer] = {}
        self._configs: dict[int, TrialConfig] = {}
        self._shape_of: dict[int, str] = {}  # live trials
        self._waiting: list[int] = []
        self._isolation = Isolation()
        self._reported: dict[int, list[LaneEvent]] = {}  # of live trials and those just ended
        self._epochs: dict[int, int] = {}  # the last one reported
        self._inbox: deque[_Submitted | _Released] = deque()
        self._outbox: dict[int, deque[LaneEvent]] = {}
        self._seen: dict[int, float] = {}
        self._unsent: list[tuple[int, LaneEvent]] = []
        self._outbox_changed = Condition()

    # ---- called by clients

    def submit(self, trial: int, config: TrialConfig | dict[str, object]) -> None:
        """Ask for a lane. Idempotent: a trial that is already here keeps its lane and reports
        everything again.

        config: as it is within this process, as JSON from another.
        """
        self._seen[trial] = time.monotonic()
        with self._outbox_changed:  # the events that a dead client left unread would come first
            self._outbox.pop(trial, None)
        self._inbox.append(_Submitted(trial, config))

    def release(self, trial: int) -> None:
        """Give the trial's lane back. Unknown trials are ignored."""
        self._inbox.append(_Released(trial))

    def next(self, trial: int, timeout_seconds: float = 0.0) -> list[LaneEvent] | None:
        """The trial's events since the last call, waiting up to `timeout_seconds` for one.

        None: the trial is not here, because it was released, its lease expired, or this server was
        restarted. A call that still waits when the trial is submitted again belongs to a dead
        client, and takes no events from its successor.
        """
        if trial not in self._seen:
            return None
        self._touch(trial)
        with self._outbox_changed:
            outbox = self._outbox.get(trial)
            self._outbox_changed.wait_for(
                lambda: bool(outbox) or self._outbox.get(trial) is not outbox, timeout_seconds
            )
            events = list(outbox or ())
            if outbox:
                outbox.clear()
        self._touch(trial)
        return events

    # ---- called by the one thread that trains

    def advance(self) -> bool:
        """Read messages, fill free lanes, and make one update of each pack. False if there was
        nothing to train."""
        while self._inbox:
            match self._inbox.popleft():
                case _Submitted(trial, config):
                    self._accept(trial, config)
                case _Released(trial):
                    self._forget(trial)
                case unknown:
                    assert_never(unknown)
        self._expire()
        while (candidate := self._next_admitted()) is not None:
            self._waiting.remove(candidate)
            self._admit(candidate)
        busy = [
            shape for shape in dict.fromkeys(self._shape_of.values()) if self._has_credit(shape)
        ]
        for shape in busy:
            self._step(shape)
        self._publish()
        return bool(busy)

    @property
    def trials(self) -> list[int]:
        """Trials that were submitted and have not been released."""
        return list(self._seen)

    def _touch(self, trial: int) -> None:
        if trial in self._seen:  # a released trial stays forgotten
            self._seen[trial] = time.monotonic()

    def _accept(self, trial: int, config: TrialConfig | dict[str, object]) -> None:
        with self._outbox_changed:
            self._outbox[trial] = deque(self._reported.get(trial, ()))
            self._outbox_changed.notify_all()
        if trial not in self._configs and trial not in self._reported:
            try:
                if not isinstance(config, TrialConfig):
                    config = TrialConfig.from_json(config)
            except Exception as error:
                self._fail(trial, error)
            else:
                self._configs[trial] = config
                self._waiting.append(trial)

    def _forget(self, trial: int) -> None:
        if trial in self._waiting:
            self._waiting.remove(trial)
        self._vacate(trial)
        self._isolation.forget(trial)
        for state in (self._configs, self._reported, self._epochs, self._seen):
            state.pop(trial, None)
        with self._outbox_changed:
            self._outbox.pop(trial, None)

    def _vacate(self, trial: int) -> None:
        shape = self._shape_of.pop(trial, None)
        if shape is not None:
            self._trainers[shape].evict(trial)
            self._drop_if_empty(shape)

    def _drop_if_empty(self, shape: str) -> None:
        """Free the memory of an empty pack."""
        if shape not in self._shape_of.values():
            self._trainers.pop(shape, None)

    def _expire(self) -> None:
        now = time.monotonic()
        for trial in [*self._shape_of, *self._waiting]:
            if now - self._seen.get(trial, now) > self._lease_seconds:
                self._forget(trial)

    def _next_admitted(self) -> int | None:
        """The waiting trial to be admitted next; None where there is no room. A trial that has to
        train alone goes first."""
        alone = next((trial for trial in self._waiting if trial in self._isolation), None)
        if alone is not None or any(trial in self._isolation for trial in self._shape_of):
            if not self._shape_of:
                return alone
            return None
        if self._waiting and len(self._shape_of) < self._lanes:
            return self._waiting[0]
        return None

    def _admit(self, trial: int) -> None:
        config = self._configs[trial]
        shape = config.shape_key()
        try:
            if shape not in self._trainers:
                capacity = 1 if trial in self._isolation else self._lanes
                self._trainers[shape] = self._build(config, capacity)
            trainer = self._trainers[shape]
            self._report(trial, PlacedEvent.of(trial, trainer.placement(config)))
            earlier = trainer.admit(trial, config)
        except Exception as error:
            self._drop_if_empty(shape)
            self._judge([trial], error)
            return
        self._shape_of[trial] = shape
        self._take(earlier, save=False)

    def _step(self, shape: str) -> None:
        try:
            items = self._trainers[shape].step()
        except Exception as error:
            broken = self._trials_of(shape)
            for trial in broken:
                del self._shape_of[trial]
            del self._trainers[shape]
            self._judge(broken, error)
            return
        self._take(items)

    def _judge(self, trials: list[int], error: Exception) -> None:
        """Fail the one trial that is at fault, or have all of them train alone."""
        first = trials[0]
        if self._isolation.is_at_fault(trials, error, self._lanes):
            self._isolation.forget(first)
            self._fail(first, error)
            return
        self._warn(first, self._isolation.add(trials, error))
        self._waiting[:0] = trials

    def _take(
        self, items: Sequence[EpochRecord | LaneEnd | LaneWarning], *, save: bool = True
    ) -> None:
        failed = {
            item.trial
            for item in items
            if isinstance(item, LaneEnd) and item.state is TrialState.FAILED
        }
        passed: list[int] = []
        for item in items:
            match item:
                case EpochRecord(trial=trial, epoch=epoch):
                    is_due = item.final or epoch % self._checkpoint_epochs == 0
                    if save and is_due and trial not in failed:
                        self._save(trial)
                    if epoch <= self._epochs.get(trial, 0):  # trained again
                        continue
                    self._epochs[trial] = epoch
                    self._report(trial, RecordEvent.of(item))
                    if trial in self._isolation and trial not in failed:
                        self._pass(trial)
                        passed.append(trial)
                case LaneEnd(trial=trial):
                    self._end(trial, item.state, item.reason)
                    self._vacate(trial)
                    if trial in failed:
                        self._isolation.forget(trial)
                case LaneWarning():
                    self._warn(item.trial, item.text)
                case unknown:
                    assert_never(unknown)
        # They make way for the next trial that has to train alone, and then go on with others.
        for trial in passed:
            if trial in self._shape_of:
                self._save(trial)
                self._vacate(trial)
                self._waiting.append(trial)

    def _pass(self, trial: int) -> None:
        """Note that the trial ended an epoch alone. If now all have, and memory was too short for
        them together, fewer train from now on."""
        if self._isolation.passed(trial):
            self._lanes = max(1, self._lanes // 2)
            self._warn(
                trial,
                f"Memory suffices for each trial alone, but not for all: now at most {self._lanes}"
                " train",
            )

    def _save(self, trial: int) -> None:
        try:
            self._trainers[self._shape_of[trial]].save(trial)
        except CheckpointError as error:  # the trial's numbers are right, so it trains on
            self._warn(trial, str(error))
        except Exception as error:  # such as no memory for a copy
            self._warn(
                trial, f"The checkpoint of trial {trial} could not be written ({in_words(error)})"
            )

    def _warn(self, trial: int, text: str) -> None:
        self._report(trial, WarningEvent(trial=trial, text=text))

    def _fail(self, trial: int, error: Exception) -> None:
        self._end(trial, TrialState.FAILED, in_words(error))

    def _end(self, trial: int, state: TrialState, reason: str) -> None:
        epoch = self._epochs.get(trial, 0)
        self._report(trial, EndEvent(trial=trial, state=state, reason=reason, epoch=epoch))

    def _report(self, trial: int, event: LaneEvent) -> None:
        self._reported.setdefault(trial, []).append(event)
        self._unsent.append((trial, event))

    def _publish(self) -> None:
        """Send all new reports at once, because each answer to a client becomes a report to
        Tune."""
        with self._outbox_changed:
            for trial, event in self._unsent:
                if trial in self._outbox:
                    self._outbox[trial].append(event)
            self._unsent.clear()
            self._outbox_changed.notify_all()

    def _trials_of(self, shape: str) -> list[int]:
        return [trial for trial, pack_shape in self._shape_of.items() if pack_shape == shape]

    def _has_credit(self, shape: str) -> bool:
        """Whether clients have read enough for the pack to train on."""
        return all(self._unread(trial) < AHEAD for trial in self._trials_of(shape))

    def _unread(self, trial: int) -> int:
        with self._outbox_changed:
            return sum(isinstance(event, RecordEvent) for event in self._outbox.get(trial, ()))


def _check_installed(expected: Mapping[str, str]) -> None:
    """Raises `PluginError` when the plug-ins of this node differ from the driver's."""
    if not expected:
        return
    installed = registry.digests()
    for name, sha256 in expected.items():
        if installed.get(name) != sha256:
            raise PluginError(
                f"All nodes need the same plug-ins, but {name} has SHA-256 {sha256} where the run"
                f" began and {installed.get(name, 'none')} on {socket.gethostname()}. Install the"
                " same version on every node."
            )


def build_server(options: ServerOptions, lease_seconds: float = float("inf")) -> LaneServer:
    """The lane server that `options` describe. Raises `ConfigError` for a device that does not
    exist, and `PluginError` for an installed plug-in that differs on this node."""
    registry.use(options.plugins)
    _check_installed(options.plugin_hashes)
    build: Callable[[TrialConfig, int], Trainer]
    if options.idle:
        from sweeps.serving.idle_trainer import IdleTrainer as build
    else:  # torch is imported here, only in the process that trains
        from sweeps.serving.pack_trainer import pack_builder

        build = pack_builder(
            options.data,
            options.checkpoints,
            options.device,
            options.threads,
            products=options.products,
            force=options.force,
        )
    return LaneServer(
        build,
        lanes=options.lanes,
        checkpoint_epochs=options.checkpoint_epochs,
        lease_seconds=lease_seconds,
    )
