"""The time of a journal's events: that of the wall, which never goes back."""

import time


class Clock:
    """Unix seconds, counted on from when it was made: who sets the machine's clock meanwhile
    changes no duration."""

    def __init__(self, told: float = 0.0) -> None:
        """`told` is the last time that was told before; nothing is told of an earlier one."""
        self._began = max(time.time(), told) - _running()

    def now(self) -> float:
        """At least what it was before."""
        return self._began + _running()


def _running() -> float:
    """Seconds that the machine has run, sleep included where the system can say so."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
