"""Workloads: training and evaluation of a task, for the lanes of one pack. Each file exports
`WORKLOAD`.

A pack owns the rows of numbers (weights, moments, best weights, gradients), the optimizer, the
records, and the admission of lanes. Its workload owns the meaning of the numbers: their layout, the
batches of an update, the loss and its gradient, the metrics of an epoch, the final metrics of a
trial.

The results of a lane may depend only on that lane's configuration, updates, row and records, bit
for bit. A workload keeps no state between updates that cannot be rebuilt from these. Carried states
and running statistics lie in the lane's row, in parts of the layout that are not trained.
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
    """The workload of one pack. Rows are [P] numbers by `layout`; `lanes` and their rows have the
    same order."""

    metrics: Metrics
    """The metrics of its records; the pack adds `grad_norm` and `learning_rate`."""
    layout: Layout
    dtype: torch.dtype
    """The dtype of the rows."""

    @abstractmethod
    def choose(self, config: TrialConfig) -> KernelChoice:
        """The kernel for a lane with this configuration, and the reason."""

    @abstractmethod
    def __init__(self, config: TrialConfig, data: Any, device: torch.device) -> None:
        """Raises `ConfigError` when the data do not suit the configuration, such as a text shorter
        than a chunk."""

    @abstractmethod
    def initial_row(self, config: TrialConfig, restart: int = 0) -> Tensor:
        """The initial row [P] of a lane with this configuration, on the CPU; each restart has
        another."""

    @abstractmethod
    def epoch_updates(self, config: TrialConfig) -> int:
        """Updates in an epoch. Raises `ConfigError` when there is not even one."""

    @abstractmethod
    def gradients(
        self, lanes: Sequence[Lane], rows_KP: Tensor, gradient_KP: Tensor
    ) -> list[dict[str, Tensor]]:
        """Fill the gradient of each lane's next update; returns each lane's means over the batch,
        0-d tensors by name.

        The gradient is that of `loss`. The other names are quantities whose means over the epoch
        are used for the metrics. Parts of the row that are not trained may be changed here; their
        gradient is zero.
        """

    @abstractmethod
    def measure(
        self, lanes: Sequence[Lane], rows_KP: Tensor, means: Sequence[Means]
    ) -> list[Means]:
        """The metrics of the epoch that each lane just ended: those in `metrics.epoch` except
        `grad_norm` and `learning_rate`. `means` are the epoch's means of the results of
        `gradients`. A metric may be infinite or NaN: the lane has then diverged."""

    @abstractmethod
    def conclude(self, lanes: Sequence[Lane], rows_KP: Tensor) -> list[Means]:
        """`metrics.final` of lanes with these best rows. A metric may be infinite or NaN: the lane
        has then diverged."""

    def learning_rate(self, lane: Lane) -> float:
        """The learning rate of the lane's next update, from its configuration, updates and
        records."""
        return lane.config.optim.learning_rate

    def restarts(self, lane: Lane) -> bool:
        """Whether the lane, whose epoch just ended, starts again with new parameters and moments
        (spec 6)."""
        return False


def names() -> list[str]:
    """All workloads, sorted."""
    return registry.names(__name__)


def get(name: str) -> type[Workload]:
    """The workload in file `name`. Raises `UnknownName`."""
    workload: type[Workload] = registry.exported(__name__, name, "workload", "WORKLOAD")
    return workload
