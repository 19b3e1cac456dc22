"""The ground truth for K lanes: each runs by itself through its cell, with ordinary autograd."""

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
    """`zoneout_core.kernels.recurrence`, which has the contract."""
    if not x.is_floating_point():
        x = x.long()
    runs = [
        cell.run(
            {name: one[k] for name, one in p.items()},
            x[k],
            tuple(one[k] for one in state),
            sites.at(k),
            training=training,
        )
        for k in range(len(x))
    ]
    lasts = tuple(torch.stack(one) for one in zip(*(r.last for r in runs), strict=True))
    statistics = [r.statistics for r in runs]
    if not trajectories:
        return Lanes(torch.stack([r.states[0] for r in runs]), lasts, None, statistics)
    every = tuple(torch.stack(one) for one in zip(*(r.states for r in runs), strict=True))
    return Lanes(every[0], lasts, every, statistics)
