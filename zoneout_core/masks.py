"""Zoneout's preserve masks, drawn as 16-bit words (spec section 9.1).

A mask says True where the old value is preserved. One 64-bit random number decides four positions, which makes a
draw about ten times as fast as `bernoulli_`; the price is that z is rounded to a multiple of 2^-16 (an error of at
most 7.7e-6). z = 0 and z = 1 are exact.
"""

import torch
from torch import Tensor

LEVELS = 2**16


def draw_(mask: Tensor, z: float, generator: torch.Generator, words: Tensor | None = None) -> Tensor:
    """Fill `mask` (bool, any shape, contiguous or a lane of a contiguous buffer) with P(True) = z; returns it.

    z: probability of preserving, rounded to a multiple of 2^-16. z = 0 and z = 1 draw nothing.
    generator: on the mask's device, at the start of its stream (`zoneout_core.streams`).
    words: scratch from `words_for(mask.numel(), device)`, to spare an allocation; its content is overwritten.
    """
    assert mask.dtype == torch.bool, mask.dtype
    assert 0.0 <= z <= 1.0, z
    preserved = round(z * LEVELS)
    if preserved in (0, LEVELS):
        return mask.fill_(preserved == LEVELS)
    if words is None:
        words = words_for(mask.numel(), mask.device)
    # Without the explicit lower bound, random_() leaves the sign bit 0, and with it that of every fourth word.
    words.random_(-(2**63), None, generator=generator)
    words_16 = words.view(torch.int16)[: mask.numel()].view(mask.shape)
    return torch.lt(words_16, preserved - LEVELS // 2, out=mask)


def words_for(positions: int, device: torch.device | str) -> Tensor:
    """Scratch for `draw_`: enough int64 for `positions` 16-bit words."""
    return torch.empty((positions + 3) // 4, dtype=torch.int64, device=device)
