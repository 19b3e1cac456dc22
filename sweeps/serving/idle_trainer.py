"""Trials that do no work, to measure what a sweep costs besides training
(`tests/benchmarks/overhead.py`)."""

import socket

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord, LaneEnd, LaneWarning, Placement, TrialState


class IdleTrainer:
    """A `Trainer` whose trials end at once, with one record each."""

    def __init__(self, config: TrialConfig, capacity: int) -> None:
        self._capacity = capacity
        self._metrics = tasks.get(config.task).metrics
        self._trials: list[int] = []

    def placement(self, config: TrialConfig) -> Placement:
        """Nowhere."""
        return Placement(
            implementation="idle",
            implementation_reason="measures the overhead",
            device="none",
            host=socket.gethostname(),
            threads=1,
            lanes=self._capacity,
        )

    def admit(self, trial: int, config: TrialConfig) -> list[EpochRecord | LaneEnd | LaneWarning]:
        """Remember the trial."""
        self._trials.append(trial)
        return []

    def step(self) -> list[EpochRecord | LaneEnd]:
        """Every trial ends."""
        metrics = dict.fromkeys(self._metrics.epoch, 1.0)
        final = dict.fromkeys(self._metrics.final, 1.0) | {"best_epoch": 1.0}
        items: list[EpochRecord | LaneEnd] = []
        for trial in self._trials:
            items.append(EpochRecord(trial=trial, epoch=1, updates=1, metrics=metrics, final=final))
            items.append(LaneEnd(trial=trial, state=TrialState.COMPLETE, reason="no work to do"))
        return items

    def save(self, trial: int) -> None:
        """Nothing to save."""

    def evict(self, trial: int) -> None:
        """Forget the trial."""
        self._trials.remove(trial)
