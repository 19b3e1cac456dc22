"""What a lane reports: the one schema that writer (lane server), journal, MLflow and analysis share. No torch.

Metric names carry the split, the protocol (spec section 2.5) and the unit. `bpc` = bits per character,
mean negative log likelihood in nats / ln 2; lower is better.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

OBJECTIVE = "valid_chunked_bpc"
"""What samplers minimise, schedulers compare, and `best` means."""
EPOCH_METRICS = ("train_bpc", "valid_chunked_bpc", "grad_norm")
"""In every record. `train_bpc` is the mean over the epoch's updates with masks on, `grad_norm` the mean L2 norm before
clipping."""
FINAL_METRICS = ("valid_chunked_bpc", "valid_stream_bpc", "test_chunked_bpc", "test_stream_bpc")
"""The four evaluation numbers of the best parameters (lowest `valid_chunked_bpc`); once, when a trial completes."""


class TrialState(StrEnum):
    """Where a trial stands. Values are persisted: only ever add, never rename."""

    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Its driver stopped or died; `sweep resume` goes on with it."""
    COMPLETE = "complete"
    PRUNED = "pruned"
    """Stopped early by the scheduler or the end of a budget, at the step of its last record."""
    FAILED = "failed"
    """Diverged or raised; the reason says which, the last record is the last finite one."""

    @property
    def finished(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where and how a trial is trained. Never part of its numbers; tagged on its run."""

    implementation: str
    """Which kernel runs: `torch`, `reference`, ..."""
    reason: str
    """Why that one."""
    device: str
    host: str
    threads: int
    lanes: int
    """Capacity of the pack it trains in; 1 = solo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One epoch of one trial. All metrics are finite: a diverged epoch yields no record."""

    trial: int
    epoch: int
    """1-based."""
    steps: int
    """Updates made since the trial began, all epochs."""
    metrics: dict[str, float]
    """`EPOCH_METRICS`, in that order."""
    final: dict[str, float] | None = None
    """`FINAL_METRICS` of the best parameters, and `best_epoch`; only in the last record of a trial that completes."""
    seconds: float = 0.0
    """Wall time of this epoch, shared with the lanes beside it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneEnd:
    """A lane that stopped by itself: it completed, or it failed."""

    trial: int
    state: TrialState
    reason: str
    """`all 30 epochs`, `no better validation value for 25 epochs`, `diverged: ...`, `OSError: ...`."""
