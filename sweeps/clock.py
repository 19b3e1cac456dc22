"""The clock of a journal's events: wall time that never goes back."""

import time


class Clock:
    """Unix seconds, read once and counted on from there: setting the machine's clock changes no
    duration."""

    def __init__(self, last: float = 0.0) -> None:
        """`last`: the time of the last earlier event, in Unix seconds. The clock starts no
        earlier."""
        self._boot = max(time.time(), last) - _uptime()

    def now(self) -> float:
        """The time in Unix seconds, never less than before."""
        return self._boot + _uptime()


def _uptime() -> float:
    """Seconds since the machine started, sleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
