"""The time of a journal's events: that of the wall, which never goes back."""

import time


class Clock:
    """Unix seconds, counted on from when it was made: who sets the machine's clock meanwhile
    changes no duration."""

    def __init__(self, last: float = 0.0) -> None:
        """`last`: the last time that was given out before, Unix seconds; no earlier one follows."""
        self._began = max(time.time(), last) - _running()

    def now(self) -> float:
        """At least what it was before."""
        return self._began + _running()


def _running() -> float:
    """Seconds that the machine has run, sleep included where the system can say so."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
