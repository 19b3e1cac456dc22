"""The state of a lane between two updates, as a checkpoint keeps it."""

from dataclasses import dataclass, field

from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import EpochRecord


@dataclass(kw_only=True, slots=True)
class LaneState:
    """All that the future of a lane depends on, besides the data.

    Tensors are rows of P numbers (`zoneout_core.network.layout.Layout`) on the CPU. The position in
    the data and all random streams follow from `updates`.
    """

    trial: int
    config: TrialConfig
    updates: int
    """Updates made since the trial began."""
    weights: Tensor
    m: Tensor
    """Adam's mean of the gradients."""
    v: Tensor
    """Adam's or RMSProp's mean of their squares."""
    restarted_at: int = 0
    """Updates made when its present parameters were drawn: above 0 only after a restart (spec
    section 6)."""
    restarts: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the updates of the epoch under way, by name: the workload's means and the gradient
    norm."""
    seconds: float = 0.0
    """Wall time of the epoch under way."""
    best: Tensor | None = None
    """Parameters with the lowest validation value; None before the first epoch's end."""
    records: list[EpochRecord] = field(default_factory=list)
    """One for every epoch that ended."""
