"""Timing of matrix products on this machine, in the shapes of a recurrence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core.kernels.product import MatMul

MIN_ROUNDS = 3
MAX_ROUNDS = 30
"""Products take turns, so that other load on the machine affects them all. The best round of each
counts."""
ENOUGH_SECONDS = 0.4
"""No further round begins after this time."""
SMALL_OPERATIONS = 1e8
REPEATS = 4
"""A product of fewer than `SMALL_OPERATIONS` is run this often within a round."""
LARGE_OPERATIONS = 1e9
"""Operations of the largest weight gradient that is timed. Longer sequences are assumed to cost in
proportion."""


class Shape(NamedTuple):
    """The product of one lane at each step: [batch, hidden] x [hidden, gates], transposed in the
    backward pass."""

    batch: int
    hidden: int
    gates: int
    """Columns of all gates side by side."""
    steps: int


@dataclass(frozen=True, slots=True)
class _Task:
    """One of the products of a sequence."""

    count: float
    """How often a sequence computes it."""
    run: Callable[[], object]
    operations: float


def seconds(products: Sequence[MatMul], shape: Shape) -> list[float]:
    """Seconds of all products of one lane's sequence (forward, backward, weight gradient), for each
    of `products`."""
    tasks = [_tasks(matmul, shape) for matmul in products]
    best = [[float("inf")] * len(matmul_tasks) for matmul_tasks in tasks]
    clock = _clock()
    started = clock()
    for number in range(MAX_ROUNDS):
        if number >= MIN_ROUNDS and clock() - started > ENOUGH_SECONDS:
            break
        for matmul_tasks, fastest in zip(tasks, best, strict=True):
            for index, task in enumerate(matmul_tasks):
                fastest[index] = min(fastest[index], _seconds_of(task))
    totals = []
    for matmul_tasks, fastest in zip(tasks, best, strict=True):
        pairs = zip(matmul_tasks, fastest, strict=True)
        totals.append(sum(task.count * duration for task, duration in pairs))
    return totals


def _tasks(matmul: MatMul, shape: Shape) -> list[_Task]:
    batch, hidden, gates, steps = shape
    operations = 2.0 * batch * hidden * gates
    together = max(1, min(steps, int(LARGE_OPERATIONS / operations)))
    random = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=random) * 0.1

    h = normal(batch, hidden)
    da = normal(batch, gates)
    a = normal(batch, gates)
    u = normal(hidden, gates).to(matmul.operand)
    all_h = normal(together * batch, hidden).to(matmul.operand)
    all_da = normal(together * batch, gates).to(matmul.operand)
    forward = matmul.prepare(u, batch)
    backward = matmul.prepare(u.t(), batch)
    return [
        _Task(1, lambda: matmul.prepare(u, batch), operations),
        _Task(1, lambda: matmul.prepare(u.t(), batch), operations),
        _Task(steps, lambda: matmul.add_(a.zero_(), h, forward), operations),
        _Task(steps, lambda: matmul.times(da, backward), operations),
        _Task(steps / together, lambda: matmul.multiply(all_h.t(), all_da), operations * together),
    ]


def _clock() -> Callable[[], float]:
    """A clock: with one thread its processor time, which other load hardly affects."""
    if torch.get_num_threads() == 1:
        return thread_time
    return perf_counter


def _seconds_of(task: _Task) -> float:
    """Seconds of one call."""
    clock = _clock()
    repeats = 1
    if task.operations < SMALL_OPERATIONS:
        repeats = REPEATS
        task.run()  # refills the caches after the previous task
    started = clock()
    for _ in range(repeats):
        task.run()
    return (clock() - started) / repeats
