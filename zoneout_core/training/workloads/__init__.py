"""Workloads: how a task trains and is evaluated, for the lanes of one pack. A file each, exporting
`WORKLOAD`.

A pack owns the rows of numbers (weights, moments, best weights, gradients), the optimizer, the
records and who comes and goes. Its workload owns what the numbers mean: their layout, the batches
of an update, the loss and its gradient, the metrics of an epoch, the final metrics of a trial.

What a workload computes for a lane may depend on that lane's configuration, step, row and records
alone, bit for bit. It keeps no state of its own between updates that could not be rebuilt from
these: what has to be carried (the state between chunks, running statistics) lies in the lane's row,
in parts of the layout that are not trained.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoneout_core.config import registry
from zoneout_core.records import Metrics

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zoneout_core.config.trial import TrialConfig
    from zoneout_core.kernels import KernelChoice
    from zoneout_core.network.layout import Layout
    from zoneout_core.training.lane import Lane

Means = dict[str, float]
"""Averages by name, of an epoch or of an evaluation."""


class Workload(ABC):
    """One per pack. Rows are [P] numbers as `layout` says; `lanes` always come with their rows, in
    the same order."""

    metrics: Metrics
    """What its records hold; the pack fills in `grad_norm` and `learning_rate`."""
    layout: Layout
    dtype: torch.dtype
    """Of the rows."""

    @abstractmethod
    def choose(self, config: TrialConfig) -> KernelChoice:
        """Which kernel runs for a lane of this configuration, and why."""

    @abstractmethod
    def __init__(self, config: TrialConfig, data: Any, device: torch.device) -> None:
        """Raises `ConfigError` when the data do not suit the configuration (a text shorter than a
        chunk)."""

    @abstractmethod
    def initial_row(self, config: TrialConfig, restart: int = 0) -> Tensor:
        """The row [P] that a lane with this configuration starts from, on the CPU; another one for
        each restart."""

    @abstractmethod
    def updates(self, config: TrialConfig) -> int:
        """Updates in an epoch. Raises `ConfigError` when there is not even one."""

    @abstractmethod
    def gradients(
        self, lanes: Sequence[Lane], rows_KP: Tensor, gradient_KP: Tensor
    ) -> list[dict[str, Tensor]]:
        """Fill the gradient of each lane's coming update, and tell what it trained on: 0-d tensors
        by name.

        `loss` is what the gradient is of; further names are the `train_*` quantities whose means
        over the epoch the metrics are made of. Parts of the row that are not trained may be changed
        here; their gradient is zero.
        """

    @abstractmethod
    def measure(
        self, lanes: Sequence[Lane], rows_KP: Tensor, means: Sequence[Means]
    ) -> list[Means]:
        """Metrics of the epoch that each lane just ended, by the names of `metrics.epoch` but
        `grad_norm` and `learning_rate`; `means` are the epoch's means of what `gradients` told. A
        number may be infinite or NaN: the lane has then diverged."""

    @abstractmethod
    def conclude(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[Means]:
        """`metrics.final` of lanes whose best rows these are. A number may be infinite or NaN: the
        lane has then diverged."""

    def learning_rate(self, lane: Lane) -> float:
        """Of the lane's coming update: a function of its configuration, step and records."""
        return lane.config.optim.learning_rate

    def restarts(self, lane: Lane) -> bool:
        """Whether the lane, whose epoch just ended, is to begin again with fresh parameters and
        moments (spec 6)."""
        return False


def names() -> list[str]:
    """All workloads, sorted."""
    return registry.names(__name__)


def get(name: str) -> type[Workload]:
    """The workload in file `name`. Raises `UnknownName`."""
    workload: type[Workload] = registry.exported(__name__, name, "workload", "WORKLOAD")
    return workload
