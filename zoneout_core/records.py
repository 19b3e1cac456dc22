"""What a lane reports: one schema for the lane server, the journal, MLflow and the analysis. No
torch.

All records are msgspec structs: `msgspec.json` and `msgspec.to_builtins` write them, and reading
them back validates them.

The metrics depend on the task (`Metrics`). `bpc` = bits per character, mean negative log likelihood
in nats / ln 2.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct

ARITHMETIC = 2
"""The edition of our arithmetic, kept with every run. Raise it whenever the same configuration
gives other bits on the same machine, even a single one: a new formula in a kernel, a new order of a
sum, another use of a random stream, a new setting whose default changes what was done before. Runs
of another edition can be read and exported but not resumed, and `sweep reproduce` does not use
their trials.

1  version 0.1
2  tanh is exact near 0, subnormal numbers are flushed
"""


Number = int | float
"""A count is still an integer when it is read back."""
Record = TypeVar("Record", bound="EpochRecord")


class Metrics(Struct, frozen=True, kw_only=True):
    """What the trials of a task report. All values are finite; names say split, protocol and
    unit."""

    objective: str
    """The metric that samplers minimise, schedulers compare, and `best` refers to; in both `epoch`
    and `final`. Lower is better."""
    epoch: tuple[str, ...]
    """The metrics of every record, in this order."""
    final: tuple[str, ...]
    """The metrics of the best parameters (lowest objective), once a trial completes."""
    label: str
    """The objective's name for readers: `validation bits per character`."""

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
"""Metrics of character tasks. `train_bpc` is the mean over the epoch's updates with masks on,
`grad_norm` the mean L2 norm before clipping; the four evaluation numbers are those of spec section
2.5. Streams are read in parallel segments: `stream_uncertainty_bpc` is the error that this may
cause (`zoneout_core.training.one_pass.Score`)."""
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
"""Metrics of word tasks (spec section 3). `test_mc_perplexity` averages probabilities over passes
with drawn masks (spec 9.7); without such passes it equals `test_perplexity`, that of the mean
network. `stream_uncertainty_perplexity` is the error that reading the test text in parallel
segments may cause in both."""
CLASSES = Metrics(
    objective="valid_error",
    epoch=("train_loss", "train_error", "valid_error", "grad_norm"),
    final=("valid_error", "test_error"),
    label="validation error rate",
)
"""Metrics of classification (spec section 5). `train_loss` is in nats."""
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
"""Metrics of tasks with a curriculum (spec section 6). `valid_shortfall` = highest difficulty -
difficulty + valid_error, so an error at a higher difficulty is better than none at a lower one."""
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
"""Metrics of semantic consistency (spec section 7): the matrix W, and its Frobenius distances to +I
and -I."""


class TrialState(StrEnum):
    """The state of a trial. Values are stored in files: add some, but never rename one."""

    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Its driver stopped or died; `sweep resume` continues it."""
    COMPLETE = "complete"
    PRUNED = "pruned"
    """Stopped early by the scheduler or the end of a budget, at the step of its last record."""
    FAILED = "failed"
    """Diverged or raised; the reason says which, the last record is the last finite one."""

    @property
    def finished(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


DIVERGED = "diverged"
"""How the reason of a trial begins that failed because its numbers stopped being finite. Samplers
learn from such trials (`sweeps.books.diverged`)."""


class Placement(Struct, frozen=True, kw_only=True):
    """Where and how a trial is trained. Its numbers do not depend on this; its run is tagged with
    it."""

    implementation: str
    """The kernel that runs, such as `torch` or `loop`."""
    implementation_reason: str
    """Why this kernel runs."""
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
    """The end of a lane that stopped by itself: it completed, or it failed."""

    trial: int
    state: TrialState
    reason: str
    """`all 30 epochs`, `no better validation value for 25 epochs`, `diverged: ...`, `OSError:
    ...`."""


class LaneWarning(Struct, frozen=True, kw_only=True):
    """Something about a lane that a person should know. The lane keeps training."""

    trial: int
    text: str
