"""The ground truth for K lanes: each runs by itself through the cell, with ordinary autograd."""

from collections.abc import Mapping

import torch
from torch import Tensor

from zoneout_core.cells import Cell
from zoneout_core.kernels.lanes import Lanes
from zoneout_core.masking.sites import Sites


def run(
    cell: Cell,
    p: Mapping[str, Tensor],
    x: Tensor,
    state: tuple[Tensor, ...],
    sites: Sites,
    *,
    training: bool,
    trajectories: bool,
) -> Lanes:
    """See `zoneout_core.kernels.recurrence` for the contract."""
    if not x.is_floating_point():
        x = x.long()
    runs = []
    for k in range(len(x)):
        lane_p = {name: value_KX[k] for name, value_KX in p.items()}
        lane_state = tuple(state_KBU[k] for state_KBU in state)
        runs.append(cell.run(lane_p, x[k], lane_state, sites.at(k), training=training))
    last = _stacked([run.last for run in runs])
    statistics = [run.statistics for run in runs]
    if not trajectories:
        return Lanes(torch.stack([run.states[0] for run in runs]), last, None, statistics)
    states = _stacked([run.states for run in runs])
    return Lanes(states[0], last, states, statistics)


def _stacked(lanes: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Each state of K lanes as one tensor [K, ...]."""
    return tuple(torch.stack(states) for states in zip(*lanes, strict=True))
