"""Combines masks: several at one site of a lane, and those of K lanes.

It works on the tensors of `zoneout_core.masking.drawing`, and knows no mask programs.
"""

from collections.abc import Sequence
from functools import reduce
from math import isnan, nan

import torch
from torch import Tensor

from zoneout_core.masking import sites
from zoneout_core.masking.sites import Sites


def stack(lanes: Sequence[Sites]) -> Sites:
    """The sites of K lanes: [K, ...].

    Where only some lanes have a mask, the others get one that changes nothing: 1, or 0 at `keep_*`.
    Lanes whose output gates are masked must agree in `gate_form`, which is part of the shape key.
    """
    forms = {lane.gate_form for lane in lanes if lane.gate is not None}
    assert len(forms) <= 1, f"lanes with different forms of the output gate: {forms}"
    stacked = {}
    for name in sites.NAMES:
        masks = [getattr(lane, name) for lane in lanes]
        stacked[name] = stack_gains(masks, neutral(name))
    return Sites(**stacked, gate_form="".join(forms))


def stack_gains(gains: Sequence[Tensor | None], neutral: float = 1.0) -> Tensor | None:
    """The mask of K lanes, [K, ...]: `neutral` in lanes that have none; None if no lane has one."""
    present = [gain for gain in gains if gain is not None]
    assert len(present) in (0, len(gains)) or not isnan(neutral), (
        "all lanes draw masks of their own, or none"
    )
    if not present:
        return None
    axes = max(gain.dim() for gain in present)
    dtype = reduce(torch.promote_types, (gain.dtype for gain in present))
    absent = present[0].new_full((1,) * axes, neutral, dtype=dtype)
    aligned = [absent if gain is None else _with_axes(gain, axes).to(dtype) for gain in gains]
    if len(aligned) > 1:
        return torch.stack(torch.broadcast_tensors(*aligned))
    return aligned[0].unsqueeze(0)


def neutral(site: str) -> float:
    """The mask value that changes nothing at a site. NaN: no number replaces the expectation that a
    cell computes."""
    if site == "uniform":
        return nan
    if site.startswith("keep_"):
        return 0.0
    return 1.0


def combine(site: str, first: Tensor | None, second: Tensor) -> Tensor:
    """Combine two masks at one site of a lane: gains multiply, and a value is kept if either keeps
    it."""
    if first is None:
        return second
    assert site not in ("gate", "uniform"), (
        "the output gate has one mask, and a cell one set of numbers"
    )
    axes = max(first.dim(), second.dim())
    first, second = _with_axes(first, axes), _with_axes(second, axes)
    product = first * second
    if not site.startswith("keep_"):
        return product
    if product.dtype == torch.bool:
        return first | second
    return first + second - product


def _with_axes(mask: Tensor, axes: int) -> Tensor:
    """The mask, with an axis for the gates if other masks have one."""
    if mask.dim() == axes:
        return mask
    return mask.unsqueeze(-2)
