"""Layer normalisation of gates side by side, shared by the cells that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-3
"""Added to the variance (spec section 11.4)."""


def layer_norm(v: Tensor, gain_X: Tensor, shift_X: Tensor | None = None, blocks: int = 1) -> Tensor:
    """gain * normalised v + shift, where each of the `blocks` equal parts of v [..., X] is
    normalised to mean 0 and variance 1 by itself."""
    from torch.nn.functional import layer_norm

    parts = v.unflatten(-1, (blocks, -1))
    y = layer_norm(parts, parts.shape[-1:], eps=EPS).flatten(-2) * gain_X
    if shift_X is None:
        return y
    return y + shift_X
