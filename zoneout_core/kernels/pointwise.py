"""Arithmetic on K lanes at once that gives each lane the bits it would have alone.

The sum, difference or product of two numbers is rounded the same everywhere, and so safe across
lanes; fused operations are not used. Exponentials are issued per lane: torch computes the last few
elements of a vectorised loop by different code, so the position of a lane's elements in the loop
must not depend on its neighbours.

tanh(x) is computed as e / (e + 2) with e = exp(2x) - 1, within 3 units in the last place, however
small x is: torch's expm1 is faster than its tanh on processors that Intel did not make.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from zoneout_core.kernels import switches

SATURATION = 40.0
"""tanh(x) is 1 from here on, even in float64, and exp(2x) is still finite in float32."""


def numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as numbers. Bool becomes the bytes 0 and 1, which torch converts to floats six times
    as fast."""
    if mask.dtype == torch.bool:
        return mask.view(torch.uint8)
    return mask.to(dtype)


def sigmoid_(lanes: Iterable[Tensor]) -> None:
    """The sigmoid of each lane, in place."""
    for lane in lanes:
        lane.sigmoid_()


def tanh(x: Tensor, lanes: Iterable[Tensor], scratch: Tensor, out: Tensor) -> None:
    """The tanh of x [K, ...] into `out`, which may be x and whose lanes are `lanes`. Overwrites
    `scratch`, which has the shape of x."""
    if x.is_cuda:
        # A GPU computes every element alike, and a call costs more than its arithmetic.
        torch.tanh(x, out=out)
        return
    if switches.TANH_BY_SIGMOID:
        torch.mul(x, 2, out=out)
        sigmoid_(lanes)
        out.mul_(2).sub_(1)
        return
    torch.clamp(x, -SATURATION, SATURATION, out=out).mul_(2)
    for lane in lanes:
        lane.expm1_()
    out.div_(torch.add(out, 2, out=scratch))


def tanh_gradient_(d: Tensor, tanh: Tensor) -> Tensor:
    """d (1 - tanh^2), into `tanh`."""
    tanh.mul_(tanh).mul_(d)
    return torch.sub(d, tanh, out=tanh)


def scale_(x: Tensor, gain: Tensor | None) -> None:
    """x *= gain, if there is one."""
    if gain is not None:
        x.mul_(gain)


def mix(mask: Tensor | None, old: Tensor, new: Tensor, scratch: Tensor, out: Tensor) -> None:
    """out = mask * old + (1 - mask) * new, exact where the mask is 0 or 1. Overwrites `scratch`."""
    if mask is None:
        out.copy_(new)
    elif mask.dtype == torch.uint8:
        # lerp is fused, but exact where the mask is 0 or 1.
        torch.lerp(new, old, scratch.copy_(mask), out=out)
    else:
        torch.mul(old, mask, out=out)
        torch.mul(new, mask, out=scratch)
        out.add_(torch.sub(new, scratch, out=scratch))


def split_(d: Tensor, mask: Tensor | None, kept: Tensor) -> None:
    """The gradient of `mix`: `kept` = mask * d goes to the old value, and d - kept, in place, to
    the new value."""
    if mask is None:
        kept.zero_()
        return
    torch.mul(d, mask, out=kept)
    d.sub_(kept)


def sum_to(gradient_KBU: Tensor, like: Tensor) -> Tensor:
    """The gradient of a state that may be shared by the batch, summed lane by lane."""
    if gradient_KBU.shape == like.shape:
        return gradient_KBU.clone()
    return torch.stack([lane.sum(0, keepdim=True) for lane in gradient_KBU.unbind(0)])


def pack(lanes: list[Tensor], dtype: torch.dtype) -> Tensor:
    """The gradients of the lanes as [K, ...]; a single lane is not copied."""
    if len(lanes) == 1:
        return lanes[0][None].to(dtype)
    return torch.stack(lanes).to(dtype)
