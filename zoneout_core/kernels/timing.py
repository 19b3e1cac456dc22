"""How long each product takes on this machine, for the products that a recurrence makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core.kernels.product import MatMul

LEAST_ROUNDS, MOST_ROUNDS = 3, 30
"""Products take turns, so that what disturbs the machine disturbs them all; the best round of each
counts."""
ENOUGH_SECONDS = 0.4
"""No further round begins after so long."""
SMALL, REPEATS = 1e8, 4
"""A product of fewer operations is made so often in a round."""
LARGE = 1e9
"""Operations of the longest weight gradient that is timed; a longer sequence is taken to cost in
proportion."""


class Shape(NamedTuple):
    """What one lane multiplies at each of its steps: [batch, hidden] x [hidden, gates], there and
    back."""

    batch: int
    hidden: int
    gates: int
    """Columns: all gates side by side."""
    steps: int


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the products of a sequence."""

    times: float
    """How often the sequence makes it."""
    run: Callable[[], object]
    operations: float


def seconds(products: Sequence[MatMul], shape: Shape) -> list[float]:
    """What the products of one lane's sequence cost with each of `products`: forward, backward,
    weight gradient."""
    parts = [_parts(one, shape) for one in products]
    best = [[float("inf")] * len(own) for own in parts]
    clock = _clock()
    started = clock()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and clock() - started > ENOUGH_SECONDS:
            break
        for own, fastest in zip(parts, best, strict=True):
            for index, part in enumerate(own):
                fastest[index] = min(fastest[index], _timed(part))
    return [
        sum(part.times * one for part, one in zip(own, fastest, strict=True))
        for own, fastest in zip(parts, best, strict=True)
    ]


def _parts(how: MatMul, shape: Shape) -> list[_Part]:
    batch, hidden, gates, steps = shape
    operations = 2.0 * batch * hidden * gates
    together = max(1, min(steps, int(LARGE / operations)))
    random = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=random) * 0.1

    h, da, a, u = (
        normal(batch, hidden),
        normal(batch, gates),
        normal(batch, gates),
        normal(hidden, gates),
    )
    every_h, every_da = (
        normal(together * batch, columns).to(how.operand) for columns in (hidden, gates)
    )
    u = u.to(how.operand)
    forward, backward = how.prepare(u, batch), how.prepare(u.t(), batch)
    return [
        _Part(1, lambda: how.prepare(u, batch), operations),
        _Part(1, lambda: how.prepare(u.t(), batch), operations),
        _Part(steps, lambda: how.add_(a.zero_(), h, forward), operations),
        _Part(steps, lambda: how.times(da, backward), operations),
        _Part(steps / together, lambda: how.multiply(every_h.t(), every_da), operations * together),
    ]


def _clock() -> Callable[[], float]:
    """With one thread its own processor time, which a busy machine stretches little."""
    if torch.get_num_threads() == 1:
        return thread_time
    return perf_counter


def _timed(part: _Part) -> float:
    """Seconds of one call."""
    clock = _clock()
    if part.operations < SMALL:
        repeats = REPEATS
    else:
        repeats = 1
    if repeats > 1:
        part.run()  # or it would pay for what the one before left in the caches
    started = clock()
    for _ in range(repeats):
        part.run()
    return (clock() - started) / repeats
