"""The result of a recurrence."""

from typing import NamedTuple

from torch import Tensor


class Lanes(NamedTuple):
    """K lanes after T steps."""

    outputs_KTBU: Tensor
    """The first state after every step, which the next layer reads."""
    last: tuple[Tensor, ...]
    """Every state after the last step, each [K, B, U]."""
    trajectories: tuple[Tensor, ...] | None
    """Every state after every step, each [K, T, B, U]; None unless asked for."""
    statistics: list[dict[str, Tensor]]
    """Batch statistics by lane (`zoneout_core.cells.Trajectory.statistics`); empty for cells
    without any."""
