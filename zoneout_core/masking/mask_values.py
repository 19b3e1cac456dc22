"""The random numbers of one mask.

Zeros and ones are drawn as 16-bit words: one 64-bit random number decides four positions, about ten
times as fast as `bernoulli_`. The price is that probabilities are rounded to multiples of 2^-16 (an
error of at most 7.7e-6); 0 and 1 are exact.
"""

from dataclasses import replace
from math import sqrt

import torch
from torch import Generator, Tensor

from zoneout_core.masking.program import Mask

LEVELS = 2**16


def sample(mask: Mask, sizes: tuple[int, ...], generator: Generator) -> Tensor:
    """Values of `mask` in these sizes, U last: bool, or float32 where it holds real numbers."""
    if mask.flipped:
        complement = sample(
            replace(mask, probability=1 - mask.probability, flipped=False), sizes, generator
        )
        if complement.dtype == torch.bool:
            return ~complement
        return 1 - complement
    device = generator.device
    if mask.kind == "uniform":
        return torch.rand(sizes, generator=generator, device=device)
    if mask.kind == "gaussian":
        normal = torch.randn(sizes, generator=generator, device=device)
        if not mask.spread:
            return normal * sqrt(mask.probability * (1 - mask.probability)) + mask.probability
        rates_U = rates(mask, sizes[-1], device).float()
        return normal * (rates_U * (1 - rates_U)) ** 0.5 + rates_U
    bits = torch.empty(sizes, dtype=torch.bool, device=device)
    if mask.spread == 0:
        return draw_(bits, mask.probability, generator)
    thresholds_U = (rates(mask, sizes[-1], device) * LEVELS).round_().int() - LEVELS // 2
    return torch.lt(_random_words(bits, generator, None), thresholds_U, out=bits)


def draw_(mask: Tensor, z: float, generator: Generator, words: Tensor | None = None) -> Tensor:
    """Fill `mask` with P(True) = z, and return it.

    mask: bool, of any shape, contiguous or a lane of a contiguous buffer.
    z: probability of preserving, rounded to a multiple of 2^-16. z = 0 and z = 1 draw nothing.
    generator: on the mask's device, at the start of its stream (`zoneout_core.masking.streams`).
    words: scratch from `words_for(mask.numel(), device)`, which spares an allocation. It is
    overwritten.
    """
    assert mask.dtype == torch.bool, mask.dtype
    assert 0.0 <= z <= 1.0, z
    preserved_levels = round(z * LEVELS)
    if preserved_levels in (0, LEVELS):
        return mask.fill_(preserved_levels == LEVELS)
    threshold = preserved_levels - LEVELS // 2
    return torch.lt(_random_words(mask, generator, words), threshold, out=mask)


def words_for(positions: int, device: torch.device | str) -> Tensor:
    """Scratch for `draw_`: enough int64 for `positions` 16-bit words."""
    return torch.empty((positions + 3) // 4, dtype=torch.int64, device=device)


def rates(mask: Mask, units: int, device: torch.device | str) -> Tensor:
    """P(mask = 1) of each unit, [U] float64: spread evenly over its probability +- spread,
    within 0..1."""
    if units == 1 or mask.spread == 0:
        return torch.full((units,), mask.probability, dtype=torch.float64, device=device)
    low, high = mask.probability - mask.spread, mask.probability + mask.spread
    return torch.linspace(low, high, units, dtype=torch.float64, device=device).clamp_(0, 1)


def _random_words(mask: Tensor, generator: Generator, words: Tensor | None) -> Tensor:
    """A random 16-bit word for each position of `mask`, in its shape."""
    if words is None:
        words = words_for(mask.numel(), mask.device)
    # Without an explicit lower bound, random_() leaves the sign bit 0, which is the top bit of
    # every fourth word.
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[: mask.numel()].view(mask.shape)
