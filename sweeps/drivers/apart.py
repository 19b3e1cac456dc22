"""Ray in a thread of its own, so that the main thread always hears signals and can leave a Ray that
is gone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from sweeps.books.events import ArtifactEvent, LaneEvent, WarningEvent
from sweeps.books.ledger import Ledger
from sweeps.books.study import Assignment
from zoneout_core.errors import RunError, ZoneoutError

_TURN_SECONDS = 0.1
_STARTING_TURN_SECONDS = 0.005
"""Ray takes the signals while it starts, even in C++. They are taken back this often, before the
next one can come."""
_PULSE_SECONDS = 1.0
_TIDYING_SECONDS = 5.0

left_behind = False
"""Whether a Ray that is gone was left in its thread. The process then has to exit without Ray's
shutdown."""


class Gone(RunError):
    """Ray's control process no longer answers."""


def run_apart(work: Callable[[], None], started: threading.Event, turn: Callable[[], None]) -> None:
    """Run `work` in a thread until it returns, and raise what it raises. `work` sets `started` once
    it takes no more signals.

    Meanwhile `turn` is called in the caller's thread. If it raises, `work` is left behind in its
    thread, which does not keep the process alive.
    """
    global left_behind  # of the process, as Ray itself is
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=guarded, name="ray", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            turn()
            thread.join(_TURN_SECONDS if started.is_set() else _STARTING_TURN_SECONDS)
    except BaseException:
        thread.join(_TIDYING_SECONDS)
        left_behind = left_behind or thread.is_alive()
        raise
    if errors:
        raise errors[0]


class Pulse:
    """Checks that Ray's control process (GCS) answers. Without it everything stalls, and Ray says
    so only after a minute."""

    def __init__(self, patience: float) -> None:
        """`patience`: seconds for which it may be away."""
        self._patience = patience
        self._address = ""
        self._answered = 0.0
        self._checked = 0.0

    def begin(self, address: str) -> None:
        """Start checking at `address` (host:port), which answers now."""
        self._answered = self._checked = time.monotonic()
        self._address = address

    def lost(self) -> str:
        """The address at which nobody has answered for too long; empty while all is well."""
        now = time.monotonic()
        if not self._address or now - self._checked < _PULSE_SECONDS:
            return ""
        self._checked = now
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError:
            if now - self._answered > self._patience:
                return self._address
            return ""
        self._answered = now
        return ""


class Books:
    """The ledger while Ray is driven. A Ray that was left behind can no longer write to it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._closed = False
        self.error: ZoneoutError | None = None
        """The first error that the ledger raised; it ends the sweep."""

    def ask(self) -> Assignment | None:
        """See `Ledger.ask`."""
        with self._opened() as ledger:
            return ledger.ask()

    def take(self, event: LaneEvent) -> bool:
        """See `Ledger.take`."""
        with self._opened() as ledger:
            return ledger.take(event)

    def lost(self, number: int, reason: str) -> None:
        """See `Ledger.lost`."""
        with self._opened() as ledger:
            ledger.lost(number, reason)

    def note(self, event: ArtifactEvent | WarningEvent) -> None:
        """See `Ledger.note`."""
        with self._opened() as ledger:
            ledger.note(event)

    def close(self) -> None:
        """Wait until nobody is writing, and refuse all later writes."""
        with self._lock:
            self._closed = True

    @contextmanager
    def _opened(self) -> Iterator[Ledger]:
        with self._lock:
            if self._closed:
                raise RunError("This Ray was left behind: its sweep has ended.")
            try:
                yield self._ledger
            except ZoneoutError as error:
                self.error = self.error or error
                raise

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self
