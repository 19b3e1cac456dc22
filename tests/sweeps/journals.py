"""Journals of made-up runs, written with the real writer: what delivery, UI and report are
shown."""

import math
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from sweeps.books import events
from sweeps.books.events import CLASSES, Event, TrialEvent, UnknownEvent
from sweeps.books.journal import Journal
from sweeps.books.run_folder import RunFolder
from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import Placement, TrialState

BEGAN = 1_790_000_000.0
PLACEMENT = Placement(
    implementation="torch",
    implementation_reason="CPU",
    device="cpu",
    host="here",
    threads=2,
    lanes=8,
)
Z_CELLS = (0.0, 0.05, 0.25, 0.5, 0.75)
Z_STATES = (0.0, 0.05, 0.1, 0.25, 0.5)
BELOW = {
    "train_bpc": 0.1,
    "valid_stream_bpc": 0.07,
    "test_chunked_bpc": 0.04,
    "test_stream_bpc": 0.11,
}
"""How far these lie below the objective of a made-up trial."""


def bpc(z_cells: float, z_states: float, epoch: int, seed: int = 0) -> float:
    """A smooth plane with its lowest point near (0.5, 0.05), approached over the epochs."""
    bowl = 0.16 * (z_cells - 0.5) ** 2 + 0.9 * (z_states - 0.06) ** 2
    return 1.362 + bowl + 0.002 * math.sin(7 * seed) + 0.9 * math.exp(-epoch / 4)


def made(kind: str, **fields: Any) -> Event:
    """The event of this kind with these fields, which are plain data."""
    if kind not in CLASSES:
        return UnknownEvent(kind=kind, line={"event": kind, **fields})
    event: Event = msgspec.convert({"event": kind, **fields}, CLASSES[kind])
    return event


def kind(event: Event) -> str:
    """As a line of the journal names it."""
    if isinstance(event, UnknownEvent):
        return event.kind
    return str(event.__struct_config__.tag)


class RunMaker:
    """Writes a run folder. Its clock ticks a tenth of a second an event."""

    def __init__(
        self, folder: Path, hidden: int = 1000, epochs: int = 30, task: str = "char_ptb"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.hidden, self.epochs, self.task = folder, hidden, epochs, task
        self.metrics = tasks.get(task).metrics
        run = RunFolder(folder)
        run.write(folder / "sweep.json", {"name": "figure3", "lanes": 8, "base": {"task": task}})
        run.write(run.provenance, {"drivers": [{"code": {"commit": "0" * 40}}]})
        self.journal = Journal(folder / "journal.jsonl")
        self._time = (BEGAN + tick / 10 for tick in count())

    def tell(self, kind: str, **fields: Any) -> Event:
        return self.add(made(kind, **fields))

    def add(self, event: Event) -> Event:
        return self.journal.append(events.stamped(event, next(self._time)))

    def driver(self) -> None:
        self.tell("driver", pid=1, host="here", mode="inline")

    def trial(
        self, number: int, z_cells: float = 0.5, z_states: float = 0.05, seed: int = 0
    ) -> None:
        params = {"regularizer.zoneout.z_cells": z_cells, "regularizer.zoneout.z_states": z_states}
        config = TrialConfig().with_values(
            {**params, "seed": seed, "hidden_size": self.hidden, "epochs": self.epochs}
        )
        config = replace(config, task=self.task)
        self.add(TrialEvent.of(number, dict(params), config, self.metrics))
        self.placed(number)

    def placed(self, number: int) -> None:
        self.add(events.PlacedEvent.of(number, PLACEMENT))

    def record(self, number: int, epoch: int, value: float, *, last: bool = False) -> None:
        final = {name: self._measured(name, value) for name in self.metrics.final} | {
            "best_epoch": float(epoch)
        }
        metrics = {name: self._measured(name, value) for name in self.metrics.epoch}
        shared = {"metrics": metrics, "final": final if last else None, "seconds": 1.5}
        self.tell("record", trial=number, epoch=epoch, updates=100 * epoch, **shared)

    def _measured(self, name: str, value: float) -> float:
        """What a trial with this objective has of another metric; no two are equal."""
        if name in ("grad_norm", self.metrics.objective):
            return 0.25 if name == "grad_norm" else value
        return value - BELOW.get(name, 0.01 + len(name) / 1000)

    def end(self, number: int, state: TrialState, reason: str, epoch: int) -> None:
        self.tell("end", trial=number, state=str(state), reason=reason, epoch=epoch)

    def closed(self, state: str = "finished", reason: str = "all trials ended") -> None:
        self.tell("closed", state=state, reason=reason)

    def complete(
        self, number: int, z_cells: float = 0.5, z_states: float = 0.05, seed: int = 0
    ) -> None:
        """A whole trial that completes."""
        self.trial(number, z_cells, z_states, seed)
        for epoch in range(1, self.epochs + 1):
            self.record(
                number, epoch, bpc(z_cells, z_states, epoch, seed), last=epoch == self.epochs
            )
        self.end(number, TrialState.COMPLETE, f"all {self.epochs} epochs", self.epochs)

    def pruned(self, number: int, epoch: int, z_cells: float = 0.5, z_states: float = 0.05) -> None:
        """A trial stopped early."""
        self.trial(number, z_cells, z_states)
        for e in range(1, epoch + 1):
            self.record(number, e, bpc(z_cells, z_states, e) + 0.1)
        self.end(number, TrialState.PRUNED, "asha: among the worse half at its rung", epoch)

    def failed(self, number: int, epoch: int) -> None:
        """A trial that diverged after `epoch` good epochs."""
        self.trial(number)
        for e in range(1, epoch + 1):
            self.record(number, e, 2.5)
        self.end(
            number,
            TrialState.FAILED,
            f"diverged: the loss of epoch {epoch + 1} is not finite",
            epoch,
        )
