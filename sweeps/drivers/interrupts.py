"""When a driver has to stop: a signal (once: cleanly; again: at once), `sweep stop`, or its time
budget.

A signal's handler runs between any two steps of what trains, and an error in it would be that of a
trial. So it only notes the signal: whoever drives asks for it, and a thread of its own says that it
was heard.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self

from sweeps.books.run_folder import RunFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what Slurm, systemd, Docker and Kubernetes send; a terminal that was closed."""
STOP_FILE_SECONDS = 0.5
ECHO_SECONDS = 0.05
"""A second signal within this time is the first one again: `timeout` sends it to the process and to
its group."""
LAST_WORDS_SECONDS = 1.0
EXIT_CODE = 130
"""What a shell calls "ended by Ctrl-C"; whichever signal it was."""


class Interrupts:
    """Ask it whether to stop: `if interrupts(): ...`. As a context manager it listens to the
    signals."""

    def __init__(self, run: RunFolder, seconds: float, say: Callable[[str], None]) -> None:
        """`seconds` is the time budget from now on; 0 = none."""
        self._run, self._say = run, say
        if seconds:
            self._deadline = time.monotonic() + seconds
        else:
            self._deadline = float("inf")
        self._looked = 0.0
        self._heard = 0.0  # when the first signal came; 0 = none yet
        self._before: dict[signal.Signals, Any] = {}
        self._words: SimpleQueue[str | None] = (
            SimpleQueue()
        )  # the one queue that a handler may put something in
        self._speaker = threading.Thread(target=self._speak, name="interrupts", daemon=True)
        self.stopping = "Stopping after the updates under way; Ctrl-C again leaves at once."
        """What is said when the first signal comes."""
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

    @property
    def signalled(self) -> bool:
        """Whether a signal came, be it after everything else was over."""
        return self._heard > 0

    def __enter__(self) -> Self:
        if (
            threading.current_thread() is threading.main_thread()
        ):  # in a notebook's thread the caller keeps its signals
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            if (
                self._before[signal.SIGHUP] is signal.SIG_IGN
            ):  # nohup: it is to outlive its terminal
                del self._before[signal.SIGHUP]
        self.listen()
        self._speaker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        self._words.put(None)
        self._speaker.join(LAST_WORDS_SECONDS)

    def listen(self) -> None:
        """Take the signals, again where another has taken them meanwhile: `ray.init` does, for its
        own handlers."""
        for number in self._before:
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._heard:
            self._heard = now
            self.reason = self.reason or f"stopped by {signal.Signals(number).name}"
            self._words.put(self.stopping)
        elif (
            number != signal.SIGHUP and now - self._heard > ECHO_SECONDS
        ):  # one terminal may hang up several times
            self._leave()

    def _leave(self) -> None:
        try:
            kill_descendants()
            text = (  # last, after what other threads say
                f"Left at once. Go on with: {self._run.command('resume')}"
            )
            try:
                self._say(text)
            except Exception:  # the signal came while the same stream was being written
                os.write(2, f"{text}\n".encode())
        finally:
            os._exit(EXIT_CODE)

    def _speak(self) -> None:
        while (text := self._words.get()) is not None:
            with suppress(Exception):  # nobody may be there to read it
                self._say(text)


def kill_descendants() -> None:
    """kill -9 of all that this process has started: some of a local Ray's do not notice that it is
    gone. Linux only."""
    for pid in _descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    """Processes that this one started, and theirs."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            for child in map(int, children.read_text().split()):
                yield from _descendants(child)
                yield child
