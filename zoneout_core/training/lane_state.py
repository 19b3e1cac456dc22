"""The state of a lane between two updates, as stored in a checkpoint."""

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
    """Updates made before its current parameters were drawn: above 0 only after a restart (spec
    section 6)."""
    restarts: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the updates of the current epoch, by name: the means of the workload and the
    gradient norm."""
    seconds: float = 0.0
    """Wall time of the current epoch so far."""
    best: Tensor | None = None
    """Parameters with the lowest validation value; None before the end of the first epoch."""
    records: list[EpochRecord] = field(default_factory=list)
    """A record for every epoch that ended."""
