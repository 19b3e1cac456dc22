"""When a driver has to stop: a signal (once: cleanly; again: at once), `sweep stop`, or its time
budget.

A signal handler runs between any two steps of the training, where an error in it would pass for the
trial's. So it only notes the signal: the driver asks for it, and a thread of its own prints that
it was heard.
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
"""Ctrl-C; the signal of Slurm, systemd, Docker and Kubernetes; a closed terminal."""
STOP_FILE_SECONDS = 0.5
ECHO_SECONDS = 0.05
"""A second signal within this time counts as the first: `timeout` sends it both to the process and
to its group."""
LAST_WORDS_SECONDS = 1.0
EXIT_CODE = 130
"""What a shell takes for "ended by Ctrl-C", whichever signal it was."""


class Interrupts:
    """Says whether to stop: `if interrupts(): ...`. As a context manager it listens to signals."""

    def __init__(self, run: RunFolder, seconds: float, say: Callable[[str], None]) -> None:
        """`seconds` is the time budget from now on; 0 = none."""
        self._run, self._say = run, say
        if seconds:
            self._deadline = time.monotonic() + seconds
        else:
            self._deadline = float("inf")
        self._checked = 0.0
        self._first_signal = 0.0  # its time; 0 = none yet
        self._old_handlers: dict[signal.Signals, Any] = {}
        # A SimpleQueue is the only queue that a signal handler may put into.
        self._messages: SimpleQueue[str | None] = SimpleQueue()
        self._speaker = threading.Thread(target=self._speak, name="interrupts", daemon=True)
        self.stopping = "Stopping after the updates under way; Ctrl-C again leaves at once."
        """The message on the first signal."""
        self.reason = ""
        """Why the driver stops; empty while it goes on."""
        self.budget_spent = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.reason and now > self._deadline:
            self.budget_spent = True
            self.reason = "the time budget is spent"
        if not self.reason and now - self._checked > STOP_FILE_SECONDS:
            self._checked = now
            if self._run.stop_requested():
                self.reason = "asked to by `sweep stop`"
        return bool(self.reason)

    @property
    def signalled(self) -> bool:
        """Whether a signal came, even if only after all trials ended."""
        return self._first_signal > 0

    def __enter__(self) -> Self:
        # In another thread, such as a notebook's, the caller keeps its signals.
        if threading.current_thread() is threading.main_thread():
            self._old_handlers = {number: signal.getsignal(number) for number in SIGNALS}
            # Under nohup the process is to outlive its terminal.
            if self._old_handlers[signal.SIGHUP] is signal.SIG_IGN:
                del self._old_handlers[signal.SIGHUP]
        self.listen()
        self._speaker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._old_handlers = {}
        self._messages.put(None)
        self._speaker.join(LAST_WORDS_SECONDS)

    def listen(self) -> None:
        """Take the signals, or take them back: `ray.init` installs handlers of its own."""
        for number in self._old_handlers:
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._first_signal:
            self._first_signal = now
            self.reason = self.reason or f"stopped by {signal.Signals(number).name}"
            self._messages.put(self.stopping)
            return
        if number == signal.SIGHUP:  # a terminal may hang up several times
            return
        if now - self._first_signal > ECHO_SECONDS:
            self._leave()

    def _leave(self) -> None:
        try:
            kill_descendants()
            # Printed last, after the messages of other threads.
            text = f"Left at once. Go on with: {self._run.command('resume')}"
            try:
                self._say(text)
            except Exception:  # the signal interrupted a write to the same stream
                os.write(2, f"{text}\n".encode())
        finally:
            os._exit(EXIT_CODE)

    def _speak(self) -> None:
        while (text := self._messages.get()) is not None:
            with suppress(Exception):  # its reader may be gone
                self._say(text)


def kill_descendants() -> None:
    """Kill every process that this one has started (SIGKILL): some processes of a local Ray do not
    notice that it is gone. Linux only."""
    for pid in _descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    """The children of a process and their descendants, the deepest first."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the process ended meanwhile
            for child in map(int, children.read_text().split()):
                yield from _descendants(child)
                yield child
