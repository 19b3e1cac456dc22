"""Subnormal numbers, those below 1.2e-38 in float32, made 0 in the threads that train.

Gradients that vanish over hundreds of steps become subnormal, and many processors take a hundred
times as long for such a number as for others. They are nothing to a weight. Flushing is a state of
each thread, which those it starts inherit: so training has a thread of its own, which flushes from
its start, and with it every thread that torch starts for it. The threads of whoever uses us stay as
they are.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import torch

from zoneout_core.kernels import switches

P = ParamSpec("P")
R = TypeVar("R")

SMALLEST = 2.0**-126
"""The smallest normal number of float32."""
ENOUGH = 1 << 16
"""Numbers for each thread, so that torch gives every one of them a share."""


def flush() -> None:
    """Make subnormal numbers 0 in this thread and in those that it starts from now on. Its first
    act, or some of torch's threads are there already. Does nothing where the processor cannot, or
    ZONEOUT_FLUSH_SUBNORMALS=0."""
    if switches.flushes_subnormals():
        torch.set_flush_denormal(True)


def are_flushed() -> bool:
    """Whether they become 0, tried in this thread and in those among which torch divides its
    work."""
    small = torch.full((ENOUGH * torch.get_num_threads(),), SMALLEST)
    return not bool(small.mul_(0.5).view(torch.int32).count_nonzero())


def said() -> str:
    """What there is to say about them in a `Placement`: nothing where they are flushed."""
    if are_flushed():
        return ""
    if not switches.flushes_subnormals():
        return "; subnormal numbers are kept, because of ZONEOUT_FLUSH_SUBNORMALS=0"
    return "; subnormal numbers are kept, which is slow where gradients vanish"


class TrainingThread:
    """A thread that flushes, for whoever has none to give: `with TrainingThread() as thread:
    thread.run(train)`."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "training", initializer=flush)

    def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it there and wait for it; what it raises is raised here."""
        return self._executor.submit(work, *args, **kwargs).result()

    def __enter__(self) -> Self:
        self._threads = torch.get_num_threads()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for work that is under way; gives the caller the number of threads back that it
        had."""
        self._executor.shutdown()
        torch.set_num_threads(self._threads)
