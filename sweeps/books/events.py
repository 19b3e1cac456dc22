"""The events of a run's journal: a class for each kind, and its JSON line.

Producers construct events; consumers match on their classes:

    match event:
        case RecordEvent(trial=trial, epoch=epoch):
            ...

A line of the journal has the kind under `event` and the fields beside it. msgspec checks both when
a line is read. Fields and kinds (`UnknownEvent`) that this version does not know are ignored, since
a later version may have written them.
"""

import math
import os
import socket
from typing import Literal, Self, get_args

import msgspec
from msgspec import Struct

from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord, LaneEnd, Metrics, Placement

KIND = "event"
"""The field of a line that names the kind of its event."""
Mode = Literal["ray", "inline"]
RunEnd = Literal["finished", "interrupted", "budget", "failed"]


class DataIdentity(Struct, frozen=True, kw_only=True):
    """Which data a run trains on."""

    task: str
    variant: str
    sha256: str


class Provenance(Struct, frozen=True, kw_only=True):
    """What the trials of a driver are made of, in short; `provenance.json` has all of it."""

    commit: str | None = None
    """Of the code; None for an installed wheel."""
    data: DataIdentity | None = None
    threads: int = 0
    """CPU threads of a lane server; 0 = unknown."""


class _Event(Struct, frozen=True, kw_only=True, tag_field=KIND):
    time: float = 0.0
    """Unix seconds. 0 until the journal stamps it."""


class DriverEvent(Provenance, tag="driver", tag_field=KIND, frozen=True, kw_only=True):
    """A driver took the run. Trials that were left running are interrupted."""

    pid: int
    host: str
    mode: Mode
    time: float = 0.0

    @classmethod
    def of(cls, mode: Mode, provenance: Provenance) -> Self:
        """The event of this process."""
        fields = msgspec.structs.asdict(provenance)
        return cls(pid=os.getpid(), host=socket.gethostname(), mode=mode, **fields)


class TrialEvent(_Event, tag="trial", frozen=True, kw_only=True):
    """The trial was asked for. Once per trial; `config` is whole, defaults included."""

    trial: int
    params: dict[str, object]
    """The searched hyperparameters alone, by dotted key."""
    config: dict[str, object]
    """`TrialConfig.to_json()`."""
    metrics: Metrics
    shape_key: str
    seed: int

    @classmethod
    def of(
        cls, trial: int, params: dict[str, object], config: TrialConfig, metrics: Metrics
    ) -> Self:
        """The event of a trial with this configuration."""
        return cls(
            trial=trial,
            params=params,
            config=config.to_json(),
            metrics=metrics,
            shape_key=config.shape_key(),
            seed=config.seed,
        )


class PlacedEvent(Placement, tag="placed", tag_field=KIND, frozen=True, kw_only=True):
    """A lane server took the trial; again after a resume."""

    trial: int
    time: float = 0.0

    @classmethod
    def of(cls, trial: int, placement: Placement) -> Self:
        """The event of a trial that trains there."""
        return cls(trial=trial, **msgspec.structs.asdict(placement))


class RecordEvent(EpochRecord, tag="record", tag_field=KIND, frozen=True, kw_only=True):
    """An epoch ended. Once per trial and epoch: a redone epoch is not written again."""

    time: float = 0.0

    @classmethod
    def of(cls, record: EpochRecord) -> Self:
        """The event of a record."""
        return cls(**msgspec.structs.asdict(record))


class EndEvent(LaneEnd, tag="end", tag_field=KIND, frozen=True, kw_only=True):
    """The trial is `complete`, `pruned` or `failed`. Once per trial."""

    epoch: int
    """Of the last record; 0 = none."""
    time: float = 0.0


class ArtifactEvent(_Event, tag="artifact", frozen=True, kw_only=True):
    """A file of the run belongs to its MLflow run. Both paths are relative and stay inside the
    run's folder; others are left out with a warning."""

    path: str
    name: str


class WarningEvent(_Event, tag="warning", frozen=True, kw_only=True, omit_defaults=True):
    """A person should know this. `trial` is set when it concerns one."""

    text: str
    trial: int | None = None


class ClosedEvent(_Event, tag="closed", frozen=True, kw_only=True):
    """The driver left: `finished`, `interrupted`, `budget` or `failed`."""

    state: RunEnd
    reason: str


class UnknownEvent(Struct, frozen=True, kw_only=True):
    """An event of a later version. It changes nothing, and mending a journal keeps it."""

    kind: str
    line: dict[str, object]
    """Its line, without number and checksum."""
    time: float = 0.0


KnownEvent = (
    DriverEvent
    | TrialEvent
    | PlacedEvent
    | RecordEvent
    | EndEvent
    | ArtifactEvent
    | WarningEvent
    | ClosedEvent
)
"""In the order in which docs/architecture.md lists them."""
Event = KnownEvent | UnknownEvent
LaneEvent = PlacedEvent | RecordEvent | EndEvent | WarningEvent
"""What a lane server reports."""
CLASSES: dict[str, type[Struct]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(KnownEvent)
}
"""Every known class, by its kind."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[KnownEvent] = msgspec.json.Decoder(KnownEvent)


def stamped(event: Event, time: float) -> Event:
    """The event as of `time`, in Unix seconds."""
    return msgspec.structs.replace(event, time=time)


def trial_of(event: Event) -> int | None:
    """The number of the trial that an event concerns; None for the run itself."""
    match event:
        case TrialEvent() | PlacedEvent() | RecordEvent() | EndEvent() | WarningEvent():
            return event.trial
    return None


def encode(event: Event) -> bytes:
    """An event as JSON in one line.

    Raises the standard `ValueError` for a number that is not finite, since JSON has none.
    """
    if not all(map(math.isfinite, _numbers(event))):
        raise ValueError(f"A journal has finite numbers only, so it cannot take {event}.")
    if isinstance(event, UnknownEvent):
        return _encoder.encode(event.line | {"time": event.time})
    return _encoder.encode(event)


def decode(kind: str, line: bytes) -> Event:
    """The event in a line of JSON whose `event` is `kind`.

    Raises the standard `ValueError`, naming the field that is missing or has the wrong type.
    """
    if kind in CLASSES:
        return _decoder.decode(line)
    fields = msgspec.json.decode(line, type=dict[str, object])
    fields.pop("line", None)
    time = msgspec.convert(fields.get("time"), float)
    return UnknownEvent(kind=kind, line=fields, time=time)


def _numbers(event: Event) -> list[float]:
    """The numbers that were measured or drawn, and so might not be finite. Those of a `TrialConfig`
    always are."""
    match event:
        case RecordEvent():
            final = event.final or {}
            return [event.seconds, *event.metrics.values(), *final.values()]
        case TrialEvent():
            return [value for value in event.params.values() if isinstance(value, float)]
    return []
