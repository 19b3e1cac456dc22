"""Masks and masked products, of which the equations of every cell are built. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mix(mask: Tensor | None, old: Tensor, new: Tensor) -> Tensor:
    """Zoneout's mix: mask * old + (1 - mask) * new, exact where the mask is 0 or 1; `new` if there
    is no mask."""
    if mask is None:
        return new
    return new.lerp(old, mask)


def gain(mask: Tensor | None, value: Tensor) -> Tensor:
    """mask * value; `value` itself if there is no mask."""
    if mask is None:
        return value
    return mask * value


def project(
    x: Tensor, w_DG: Tensor, gain: Tensor | None = None, plus: Tensor | None = None
) -> Tensor:
    """(gain * x) W + plus, [..., G], where x is [..., D]. Tokens [...] select rows of W.

    gain: broadcasts to x (for tokens: to [..., 1]), or to [..., gates, D] (tokens: [..., gates, 1])
    with one gain for each block of columns of W. plus: [G], or of the shape of the result.
    """
    import torch

    if gain is not None:
        gain = gain.to(w_DG.dtype)
    if not x.is_floating_point():
        if gain is None and plus is not None and plus.dim() == 1:
            return torch.nn.functional.embedding(x, w_DG + plus)
        a = torch.nn.functional.embedding(x, w_DG)
        if gain is not None:
            if gain.dim() == a.dim():
                a = a * gain
            else:
                a = (a.unflatten(-1, (gain.shape[-2], -1)) * gain).flatten(-2)
    elif gain is not None and gain.dim() > x.dim():
        blocks = zip(gain.unbind(-2), w_DG.chunk(gain.shape[-2], dim=-1), strict=True)
        a = torch.cat([(x * block_gain) @ block for block_gain, block in blocks], dim=-1)
    else:
        if gain is not None:
            x = x * gain
        if plus is not None and x.dim() == 2:
            return torch.addmm(plus, x, w_DG)
        if plus is not None and plus.dim() == 1:
            return torch.nn.functional.linear(x, w_DG.t(), plus)
        a = x @ w_DG
    if plus is None:
        return a
    return a + plus
