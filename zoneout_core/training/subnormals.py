"""Subnormal numbers, those below 1.2e-38 in float32, become 0 in the threads that train.

Gradients that vanish over hundreds of steps become subnormal, and many processors take a hundred
times as long for such a number as for others. They do not change a weight. Flushing is a state of
each thread, which the threads that it starts inherit. So training has its own thread, which flushes
from its start, and so does every thread that torch starts for it. The caller's threads are not
changed.
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
NUMBERS_PER_THREAD = 1 << 16
"""Enough that torch gives every thread a share of the work."""


def flush() -> None:
    """Make subnormal numbers 0 in this thread and in those that it starts from now on. Call it
    first in a thread, before torch starts others. Does nothing if the processor cannot flush, or
    with ZONEOUT_FLUSH_SUBNORMALS=0."""
    if switches.flushes_subnormals():
        torch.set_flush_denormal(True)


def are_flushed() -> bool:
    """Whether subnormal numbers become 0 in this thread and in the threads among which torch
    divides its work. It tries."""
    small = torch.full((NUMBERS_PER_THREAD * torch.get_num_threads(),), SMALLEST)
    return not bool(small.mul_(0.5).view(torch.int32).count_nonzero())


def note() -> str:
    """A note for the reason of a `Placement`; empty if subnormal numbers are flushed."""
    if are_flushed():
        return ""
    if not switches.flushes_subnormals():
        return "; subnormal numbers are kept, because of ZONEOUT_FLUSH_SUBNORMALS=0"
    return "; subnormal numbers are kept, which is slow where gradients vanish"


class TrainingThread:
    """A thread that flushes: `with TrainingThread() as thread: thread.run(train)`."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "training", initializer=flush)

    def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in the thread and wait for it; its errors are raised here."""
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
        """Wait for running work, and restore the caller's number of threads."""
        self._executor.shutdown()
        torch.set_num_threads(self._threads)
