"""Trials that do no work: what a sweep costs besides training (`tests/benchmarks/overhead.py`)."""

import socket

from zoneout_core.config import TrialConfig
from zoneout_core.records import EPOCH_METRICS, FINAL_METRICS, EpochRecord, LaneEnd, Placement, TrialState


class IdleTrainer:
    """A `Trainer` whose trials end at once, with one record each."""

    def __init__(self, config: TrialConfig, capacity: int) -> None:
        self.placement = Placement(
            implementation="idle",
            reason="measures the overhead",
            device="none",
            host=socket.gethostname(),
            threads=1,
            lanes=capacity,
        )
        self._trials: list[int] = []

    def admit(self, trial: int, config: TrialConfig) -> list[EpochRecord | LaneEnd]:
        """Remember the trial."""
        self._trials.append(trial)
        return []

    def step(self) -> list[EpochRecord | LaneEnd]:
        """Every trial ends."""
        metrics, final = dict.fromkeys(EPOCH_METRICS, 1.0), dict.fromkeys(FINAL_METRICS, 1.0) | {"best_epoch": 1.0}
        told: list[EpochRecord | LaneEnd] = []
        for trial in self._trials:
            told.append(EpochRecord(trial=trial, epoch=1, steps=1, metrics=metrics, final=final))
            told.append(LaneEnd(trial=trial, state=TrialState.COMPLETE, reason="no work to do"))
        return told

    def save(self, trial: int) -> None:
        """Nothing to save."""

    def evict(self, trial: int) -> None:
        """Forget the trial."""
        self._trials.remove(trial)
