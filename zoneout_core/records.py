"""What a lane reports: the one schema that writer (lane server), journal, MLflow and analysis
share. No torch.

All are msgspec structs: `msgspec.json` and `msgspec.to_builtins` write them, and reading them back
validates them.

Which metrics there are depends on the task (`Metrics`). `bpc` = bits per character, mean negative
log likelihood in nats / ln 2.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct

ARITHMETIC = 2
"""The edition of our arithmetic, kept with every run. Raise it whenever an equal configuration
comes to give other bits on the same machine, be it by one: another formula in a kernel, another
order of a sum, another use of a random stream, a new setting whose default is not what was done
before. Runs of another edition can be read and exported, but they are not gone on with, and their
trials do not serve `sweep reproduce`.

1  version 0.1
2  tanh is exact near 0, subnormal numbers are flushed
"""


Number = int | float
"""A count stays a whole number when it is read back."""
Record = TypeVar("Record", bound="EpochRecord")


class Metrics(Struct, frozen=True, kw_only=True):
    """What the trials of a task report. All are finite numbers; names carry split, protocol and
    unit."""

    objective: str
    """What samplers minimise, schedulers compare, and `best` means; one of `epoch` and of `final`.
    Lower is better."""
    epoch: tuple[str, ...]
    """In every record, in this order."""
    final: tuple[str, ...]
    """Of the best parameters (lowest objective); once, when a trial completes."""
    label: str
    """What the objective is called for readers: `validation bits per character`."""

    def __post_init__(self) -> None:
        assert self.objective in self.epoch, self.objective
        assert self.objective in self.final, self.objective

    @property
    def unit(self) -> str:
        """The last word of the objective's name: `bpc`, `perplexity`, `error`."""
        return self.objective.rpartition("_")[2]

    def best(self, records: Iterable["Record"]) -> "Record | None":
        """The record with the lowest objective, the earliest of equals; None where there is
        none."""
        return min(
            records,
            key=lambda record: (record.metrics[self.objective], record.epoch),
            default=None,
        )


CHARACTERS = Metrics(
    objective="valid_chunked_bpc",
    epoch=("train_bpc", "valid_chunked_bpc", "grad_norm"),
    final=(
        "valid_chunked_bpc",
        "valid_stream_bpc",
        "test_chunked_bpc",
        "test_stream_bpc",
        "stream_uncertainty_bpc",
    ),
    label="validation bits per character",
)
"""Of character tasks. `train_bpc` is the mean over the epoch's updates with masks on, `grad_norm`
the mean L2 norm before clipping; the four evaluation numbers are those of spec section 2.5. Streams
are read in parallel segments: `stream_uncertainty_bpc` is how far they may be off for that
(`zoneout_core.training.one_pass.Score`)."""
WORDS = Metrics(
    objective="valid_perplexity",
    epoch=("train_perplexity", "valid_perplexity", "learning_rate", "grad_norm"),
    final=(
        "valid_perplexity",
        "test_perplexity",
        "test_mc_perplexity",
        "stream_uncertainty_perplexity",
    ),
    label="validation perplexity",
)
"""Of word tasks (spec section 3). `test_mc_perplexity` averages probabilities over passes with
drawn masks (spec 9.7); without such passes it is the mean network's, `test_perplexity`.
`stream_uncertainty_perplexity` is how far both may be off, as the test text is read in parallel
segments."""
CLASSES = Metrics(
    objective="valid_error",
    epoch=("train_loss", "train_error", "valid_error", "grad_norm"),
    final=("valid_error", "test_error"),
    label="validation error rate",
)
"""Of classification (spec section 5). `train_loss` is in nats."""
CURRICULUM = Metrics(
    objective="valid_shortfall",
    epoch=(
        "train_loss",
        "valid_error",
        "difficulty",
        "valid_shortfall",
        "restarts",
        "learning_rate",
        "grad_norm",
    ),
    final=("valid_error", "difficulty", "valid_shortfall"),
    label="difficulty still missing",
)
"""Of tasks with a curriculum (spec section 6). `valid_shortfall` = most difficulty - difficulty +
valid_error, so that an error at a higher difficulty is better than none at a lower one."""
CONSISTENCY = Metrics(
    objective="train_cost",
    epoch=(
        "train_cost",
        "w_00",
        "w_01",
        "w_10",
        "w_11",
        "distance_plus",
        "distance_minus",
        "grad_norm",
    ),
    final=("train_cost", "distance_plus", "distance_minus"),
    label="cost",
)
"""Of semantic consistency (spec section 7): the matrix W, and its Frobenius distances to +I and
-I."""


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


class Placement(Struct, frozen=True, kw_only=True):
    """Where and how a trial is trained. Never part of its numbers; tagged on its run."""

    implementation: str
    """Which kernel runs: `torch`, `reference`, ..."""
    implementation_reason: str
    """Why that one."""
    device: str
    host: str
    threads: int
    lanes: int
    """Capacity of the pack it trains in; 1 = solo."""


class EpochRecord(Struct, frozen=True, kw_only=True):
    """One epoch of one trial. All metrics are finite: a diverged epoch yields no record."""

    trial: int
    epoch: int
    """1-based."""
    updates: int
    """Updates made since the trial began, all epochs."""
    metrics: dict[str, Number]
    """`Metrics.epoch` of the task, in that order."""
    final: dict[str, Number] | None = None
    """`Metrics.final` of the best parameters, and `best_epoch`; only in the last record of a trial
    that completes."""
    seconds: float = 0.0
    """Wall time of this epoch, shared with the lanes beside it."""


class LaneEnd(Struct, frozen=True, kw_only=True):
    """A lane that stopped by itself: it completed, or it failed."""

    trial: int
    state: TrialState
    reason: str
    """`all 30 epochs`, `no better validation value for 25 epochs`, `diverged: ...`, `OSError:
    ...`."""


class LaneWarning(Struct, frozen=True, kw_only=True):
    """Something about a lane that a person should know; it trains on."""

    trial: int
    text: str
