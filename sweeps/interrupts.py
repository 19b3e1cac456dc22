"""When a driver has to stop: Ctrl-C (once: cleanly; twice: at once), `sweep stop`, or its time budget."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from sweeps.home import Run

STOP_FILE_SECONDS = 0.5
EXIT_CODE = 130
"""What a shell calls "ended by Ctrl-C"."""


class Interrupts:
    """Ask it whether to stop: `if interrupts(): ...`. As a context manager it listens to SIGINT and SIGTERM."""

    def __init__(self, run: Run, seconds: float, say: Callable[[str], None]) -> None:
        """`seconds` is the time budget from now on; 0 = none."""
        self._run, self._say = run, say
        self._deadline = time.monotonic() + seconds if seconds else float("inf")
        self._looked = 0.0
        self._signals = 0
        self.reason = ""
        """Why it stops; empty while it does not."""
        self.budget_spent = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.reason and now > self._deadline:
            self.budget_spent, self.reason = True, "the time budget is spent"
        if not self.reason and now - self._looked > STOP_FILE_SECONDS:
            self._looked = now
            if self._run.stop_requested():
                self.reason = "asked to by `sweep stop`"
        return bool(self.reason)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # in a notebook's thread the caller keeps its signals
            self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        else:
            self._before = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            for pid in _descendants(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._say(f"Left at once. Go on with: {self._run.command('resume')}")  # last, after what other threads say
            os._exit(EXIT_CODE)
        self.reason = f"stopped by {signal.Signals(number).name}"
        self._say("Stopping after the updates under way; Ctrl-C again leaves at once.")


def _descendants(pid: int) -> Iterator[int]:
    """Processes that this one started, and theirs: some of a local Ray's do not notice that it is gone. Linux only."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            for child in map(int, children.read_text().split()):
                yield from _descendants(child)
                yield child
