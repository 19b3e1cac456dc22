"""stdout and stderr of a command, and Ctrl-C before the command has begun."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TextIO

INTERRUPTED = 130
"""Exit code of a command that a signal ended."""


class Outlet:
    """A stream that falls silent once its reader is gone: a closed pipe, a terminal that hung up.

    Any other error, such as a full disk, is raised.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()  # asked now: after a hang-up it would say no
        self._mute = False

    def write(self, text: str) -> int:
        """Write `text` while there is somebody to read it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush while there is somebody to read it."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, step: Callable[[], object]) -> None:
        if self._mute:
            return
        try:
            step()
        except OSError as error:
            hung_up = error.errno == errno.EIO and self._is_terminal
            if not isinstance(error, BrokenPipeError) and not hung_up:
                raise
            self._mute = True
            # Python flushes what is left when it ends, and would complain.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def outlets() -> Iterator[None]:
    """stdout and stderr as `Outlet`s for the length of a command."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Outlet(sys.stdout), Outlet(sys.stderr)
    try:
        yield
    finally:
        with suppress(ValueError):  # closed already
            sys.stdout.flush()
            sys.stderr.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Ctrl-C ends the process silently: while modules are imported there is nothing to save."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)
