"""Delivery of a run's journal to MLflow: in the background while it is driven, or in the foreground
afterwards.

Training never waits for MLflow. What cannot be delivered now stays in the journal, is tried again
with growing pauses, and can be delivered at any later time, from any process, also from several at
once: `sweep deliver RUN`.
"""

import logging
import re
import shlex
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from sweeps import secrets
from sweeps.books import events, sealed
from sweeps.books.events import ArtifactEvent, ClosedEvent, DriverEvent, EndEvent, Event
from sweeps.books.journal import JournalReader
from sweeps.books.run_folder import Home, RunFolder
from sweeps.books.story import Story
from sweeps.tracking.home_store import HomeStore
from sweeps.tracking.mirror import Milestone, Mirror
from zoneout_core.errors import ConfigError, RunError
from zoneout_core.records import TrialState

_SCHEMES = (
    "http",
    "https",
    "sqlite",
    "postgresql",
    "mysql",
    "mssql",
    "file",
    "databricks",
    "databricks-uc",
    "uc",
)
_LONGEST_PAUSE = 30.0
_BRIEFLY = 3.0
"""Seconds after which an end no longer waits for a server that is not there, or takes nothing."""
_ATTEMPTS = 3
_LOCKED_OUT = (401, 403)
_BUSY = (408, 429, 503, 504)
_REST = 3.0
"""Pause after each run that was brought, in units of what it took: the driver needs this process
more."""
_log = logging.getLogger(__name__)


def check_scheme(uri: str) -> None:
    """Raises `ConfigError` for a tracking URI of a kind that MLflow does not know."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    plugins = {point.name for point in entry_points(group="mlflow.tracking_store")}
    is_word = uri in ("databricks", "databricks-uc", "uc")  # the only ones without a scheme
    if uri and not is_word and scheme not in {*_SCHEMES, *plugins}:
        raise ConfigError(
            f"--tracking must be a URI that MLflow knows ({', '.join(_SCHEMES)}), but is"
            f" {secrets.shown(uri)!r}. For example: --tracking http://127.0.0.1:5000"
        )


class Tracking(NamedTuple):
    """Where a run is delivered to. `tracking.json` in its folder says so."""

    uri: str
    """MLflow's tracking URI: `sqlite:///...`, `postgresql+psycopg://...` or `http(s)://...`."""
    experiment: str

    @classmethod
    def local(cls, home: Path, experiment: str) -> Self:
        """The SQLite store in the home folder, which needs no server."""
        return cls(f"sqlite:///{home.absolute() / 'mlflow.db'}", experiment)

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        """What `tracking.json` says, with the password that it leaves out.

        Raises `RunError` when the run was never tracked, or the file is damaged, and `ConfigError`
        when the password is nowhere.
        """
        try:
            content = sealed.read(run.tracking)
            tracking = cls(str(content["uri"]), str(content["experiment"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"A run's {run.tracking.name} says where MLflow has it, but {run.tracking} cannot"
                f" be used: {error!r}. Write it anew with: {run.command('deliver')} --tracking URI"
            ) from error
        if tracking.shown != tracking.uri:  # somebody wrote a password into it
            tracking.save(run)
        return tracking._replace(uri=secrets.unmask(tracking.uri, "tracking", run.folder))

    @classmethod
    def known(cls, run: RunFolder) -> Self | None:
        """`of`, or None."""
        try:
            return cls.of(run)
        except RunError:
            return None

    def save(self, run: RunFolder) -> None:
        """Write `tracking.json`; a password goes into `secrets.json`. Raises `HomeError` when the
        disk refuses."""
        run.keep("tracking", self.uri)
        run.write(run.tracking, {"uri": self.shown, "experiment": self.experiment})

    def command(self, run: RunFolder) -> str:
        """The command that delivers a run there; where it belongs need not be said."""
        belongs = Tracking.known(run) or Tracking.local(run.folder.parent, self.experiment)
        return run.command("deliver") + (
            f" --tracking {shlex.quote(self.shown)}" if belongs != self else ""
        )

    @property
    def shown(self) -> str:
        """The URI without a password."""
        return secrets.shown(self.uri)


class Delivery:
    """Brings the journal of one run to MLflow, event by event or long afterwards, with the same
    result.

    `start` it as soon as the journal exists, `drain` it after the journal was closed. `warn` hears
    once of every stretch of time in which MLflow refuses.
    """

    def __init__(
        self,
        run_folder: Path,
        tracking_uri: str,
        experiment: str,
        *,
        poll_seconds: float = 1.0,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        self.run = RunFolder(run_folder)
        self.tracking = Tracking(tracking_uri, experiment)
        self.problem = ""
        """Why the last attempt failed; empty while all goes well."""
        self._poll_seconds, self._warn = poll_seconds, warn
        self._store = HomeStore.at(tracking_uri, run_folder.parent)
        self._driver_gone = False
        self._suspicion = ""  # the last error, while it may come of a damaged store
        self._fails_since: float | None = None  # at the end: since when nothing was taken
        self._failures: Counter[int | None] = Counter()  # of each since MLflow last took anything
        self._begin()
        self._draining = Signal()
        self._wake = Signal()
        self._emptied = Signal()
        self._given_up = Signal()
        self._over = Signal()  # the thread has ended
        self._thread: Thread | None = None

    def _begin(self) -> None:
        """Know nothing of the journal, nor of what was delivered."""
        self._reader, self._story = JournalReader(self.run.journal), Story()
        self._unread: deque[Event] = deque()
        self._milestones: list[Milestone] = []
        # Undelivered events by trial; None = the run itself.
        self._waiting: Counter[int | None] = Counter()
        self._mirror: Mirror | None = None

    @property
    def undelivered(self) -> int:
        """How many events have been read and not reached MLflow (for each of its runs that they
        change)."""
        waiting = list(self._waiting.values())  # a copy: the thread may be adding to it
        return len(self._unread) + sum(waiting)

    def start(self) -> None:
        """Begin in a thread of its own, which never keeps the process alive.

        Raises `RunError` when mlflow is not installed; a driver says so and goes on without.
        """
        _require_mlflow(self.run)
        self._thread = Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def drain(self, timeout: float, stop: Callable[[], bool] = lambda: False) -> int:
        """Deliver what the journal holds, for at most `timeout` seconds, and end. Returns what is
        left: events.

        A server that is slow is waited for; one that refuses, or that is not there, is not. Nor is
        any after `stop()`.
        """
        assert self._thread is not None, "start() comes before drain()"
        self._draining.set()
        self._wake.set()
        until = time.monotonic() + timeout
        while (
            not (self._emptied.is_set() or self._given_up.is_set() or stop())
            and time.monotonic() < until
        ):
            self._over.wait(min(0.2, max(0.0, until - time.monotonic())))
        self._given_up.set()
        self._wake.set()
        if self._emptied.is_set():
            return 0
        return max(1, self.undelivered)

    def deliver(self, timeout: float = 60.0) -> int:
        """`start` and `drain`: all of a run, now. Where nobody drives it any more, nothing stays
        RUNNING in MLflow."""
        self._driver_gone = not self.run.is_driven()
        self.run.story()  # raises `RunError` for a damaged journal, before anything of it is sent
        self.start()
        return self.drain(timeout)

    def _work(self) -> None:
        try:
            self._deliver()
        finally:
            self._over.set()

    def _deliver(self) -> None:
        pause = self._poll_seconds
        while not self._given_up.is_set():
            # Asked before reading, so that what was appended before drain() is delivered.
            draining = self._draining.is_set()
            try:
                self._read()
                self._bring()
                if self.problem:
                    self.problem, self._suspicion, pause = "", "", self._poll_seconds
                if draining and not self._waiting:
                    self._emptied.set()
                    return
            except Exception as error:  # MLflow, its HTTP client, its database: the thread goes on
                pause = self._failed(error, pause)
                if draining and self._is_hopeless(error):
                    self._given_up.set()
                    return
            self._wake.wait(min(pause, 1.0) if draining else pause)
            self._wake.clear()

    def _failed(self, error: Exception, pause: float) -> float:
        """Say so, once, and double the pause."""
        first_line = secrets.mask(str(error)).partition("\n")[0][:200]
        said, self.problem = self.problem, f"{type(error).__name__}: {first_line}"
        self._suspicion = str(error)
        if not said:
            self._tell(
                f"MLflow at {self.tracking.shown} does not take what is delivered ({self.problem})."
                " Training goes on and the journal keeps everything; what is still missing at the"
                f" end goes out with: {self.tracking.command(self.run)}"
            )
        return min(max(2 * pause, 0.1), _LONGEST_PAUSE)

    def _tell(self, text: str) -> None:
        with suppress(Exception):  # nobody may be there to read it
            self._warn(text)

    def _is_hopeless(self, error: Exception) -> bool:
        """Whether an end need not wait any longer, after an attempt that failed."""
        self._fails_since = self._fails_since or time.monotonic()
        status, text = _http_status(error), str(error).lower()
        if "locked" in text or "read timed out" in text or status in _BUSY:
            return False  # slow, and there
        if status in _LOCKED_OUT:
            return True
        if time.monotonic() - self._fails_since < _BRIEFLY:
            return False
        # What fails of one run may be put right by the next attempt, and is no reason not to bring
        # the others.
        return self._mirror is None or all(
            self._failures[number] >= _ATTEMPTS for number in self._waiting
        )

    def _open(self) -> Mirror:
        """What is delivered to; a store of the home's own is made, or made anew, before."""
        if self._store is not None:
            done = self._store.prepare(self._suspicion)
            if done:
                others = Home(self.run.folder.parent).command("deliver", "--all")
                self._tell(f"{done} Bring the other runs of this home back with: {others}")
        self._suspicion = ""
        artifacts = self.run.folder.parent / "mlflow"
        return Mirror(
            self.run.name, self.tracking.uri, self.tracking.experiment, artifacts, self._warn
        )

    def _read(self) -> None:
        self._unread.extend(self._reader.new())
        while self._unread:
            event, warned = self._unread[0], len(self._story.warnings)
            self._story.add(event)
            if isinstance(event, ArtifactEvent):
                for text in self._story.warnings[warned:]:
                    self._warn(text)
            self._note(event)
            self._unread.popleft()
        if self._driver_gone and self._story.state == "running":
            for number, trial in self._story.trials.items():
                self._waiting[number] += not trial.state.finished
            self._waiting[None] += 1
            self._story.interrupt("its driver died")

    def _note(self, event: Event) -> None:
        """Which of MLflow's runs this event changes."""
        self._waiting[events.trial_of(event)] += 1
        match event:
            case DriverEvent() | ClosedEvent():
                for trial in self._story.trials.values():
                    self._waiting[trial.trial] += trial.state is TrialState.INTERRUPTED
            case EndEvent():
                self._waiting[None] += 1
                self._milestones.append(self._milestone(event))

    def _milestone(self, end: EndEvent) -> Milestone:
        finished, values = 1, []
        if self._milestones:
            before = self._milestones[-1]
            finished += before.finished
            if before.best is not None:
                values.append(before.best)
        value = self._story.trials[end.trial].best_value
        if value is not None and end.state is not TrialState.FAILED:
            values.append(value)
        return Milestone(end.time, finished, min(values, default=None))

    def _bring(self) -> None:
        """Everything that waits. Raises at the first failure, with what failed now last in line."""
        if (
            self._store is not None
            and self._mirror is not None
            and (self._store.replaced or self._store.is_corrupt(self._suspicion))
        ):
            self._begin()
            self._read()
        self._waiting = +self._waiting
        if not self._waiting:
            return
        if self._mirror is None:
            self._mirror = self._open()
        for number in list(self._waiting):
            began = time.monotonic()
            try:
                if number is None:
                    self._mirror.bring_run(self._story, self.run.folder, self._milestones)
                else:
                    self._mirror.bring_trial(self._story, self._story.trials[number])
            except BaseException:
                self._waiting[number] = self._waiting.pop(number)
                self._mirror.forget(number)
                self._failures[number] += 1
                raise
            del self._waiting[number]
            self._failures, self._fails_since = Counter(), None
            self._draining.wait(_REST * (time.monotonic() - began))


def _http_status(error: Exception) -> int:
    """The status of a server's answer, as MLflow's exceptions tell it; 0 for any other error."""
    if not hasattr(error, "get_http_status_code"):
        return 0
    stated = re.search(r"(?:failed with error code|too many) (\d{3})\b", str(error))
    if stated:
        return int(stated[1])
    # 503 is also what MLflow calls a database that is not there.
    return min(500, int(error.get_http_status_code()))


def _require_mlflow(run: RunFolder) -> None:
    if find_spec("mlflow") is None:
        raise RunError(
            "Delivery needs the package mlflow, which is not installed here. The journal keeps"
            " every record; install it (pip install mlflow) and deliver with:"
            f" {run.command('deliver')}"
        )
