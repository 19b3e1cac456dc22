"""Delivery of a run's journal to MLflow: in the background while the run is driven, or in the
foreground afterwards.

Training never waits for MLflow. What cannot be delivered stays in the journal and is tried again
with growing pauses. `sweep deliver RUN` delivers it at any later time, from any process, and from
several at once.
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
from sweeps.books import checksums, events
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
"""Seconds for which a driver that ends waits for a server that is away or refuses everything."""
_ATTEMPTS = 3
_LOCKED_OUT = (401, 403)
_BUSY = (408, 429, 503, 504)
_REST = 3.0
"""Pause after each run that was sent, in units of the time that took: the driver needs this process
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
    """Where a run is delivered to, as `tracking.json` in its folder says."""

    uri: str
    """MLflow's tracking URI: `sqlite:///...`, `postgresql+psycopg://...` or `http(s)://...`."""
    experiment: str

    @classmethod
    def local(cls, home: Path, experiment: str) -> Self:
        """The SQLite store in the home folder, which needs no server."""
        return cls(f"sqlite:///{home.absolute() / 'mlflow.db'}", experiment)

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        """The content of `tracking.json`, with the password that it leaves out.

        Raises `RunError` when the run was never tracked or the file is damaged, and `ConfigError`
        when the password is nowhere.
        """
        try:
            content = checksums.read(run.tracking)
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
        """`of`, or None where that raises `RunError`."""
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
        """The command that delivers a run here. It needs no `--tracking` where the run belongs."""
        command = run.command("deliver")
        default = Tracking.known(run) or Tracking.local(run.folder.parent, self.experiment)
        if default == self:
            return command
        return f"{command} --tracking {shlex.quote(self.shown)}"

    @property
    def shown(self) -> str:
        """The URI without a password."""
        return secrets.shown(self.uri)


class Delivery:
    """Delivers the journal of one run to MLflow, event by event or long afterwards, with the same
    result.

    `start` it as soon as the journal exists, and `drain` it after the journal was closed. `warn` is
    called once for every period in which MLflow refuses.
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
        """Why the last attempt failed; empty after a success."""
        self._poll_seconds = poll_seconds
        self._warn = warn
        self._store = HomeStore.at(tracking_uri, run_folder.parent)
        self._driver_gone = False
        self._suspicion = ""  # the last error, while a damaged store may be its cause
        self._failing_since: float | None = None  # while draining: since when MLflow took nothing
        # Failures of each trial since MLflow last took anything.
        self._failures: Counter[int | None] = Counter()
        self._begin()
        self._draining = Signal()
        self._wake = Signal()
        self._emptied = Signal()
        self._given_up = Signal()
        self._over = Signal()  # the thread has ended
        self._thread: Thread | None = None

    def _begin(self) -> None:
        """Start from scratch, with nothing read and nothing delivered."""
        self._reader = JournalReader(self.run.journal)
        self._story = Story()
        self._unread: deque[Event] = deque()
        self._milestones: list[Milestone] = []
        # Undelivered events by trial; None = the run itself.
        self._waiting: Counter[int | None] = Counter()
        self._mirror: Mirror | None = None

    @property
    def undelivered(self) -> int:
        """How many events have been read and have not reached MLflow, counted for each of its runs
        that they change."""
        waiting = list(self._waiting.values())  # a copy: the thread may be adding to it
        return len(self._unread) + sum(waiting)

    def start(self) -> None:
        """Begin in a thread that does not keep the process alive.

        Raises `RunError` when mlflow is not installed; a driver reports that and goes on without.
        """
        _require_mlflow(self.run)
        self._thread = Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def drain(self, timeout: float, stop: Callable[[], bool] = lambda: False) -> int:
        """Deliver what the journal holds, for at most `timeout` seconds, and end. Returns the
        number of undelivered events.

        Waits for a slow server, but not for one that refuses or is away, and no longer once
        `stop()` is true.
        """
        assert self._thread is not None, "start() comes before drain()"
        self._draining.set()
        self._wake.set()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._emptied.is_set() or self._given_up.is_set() or stop():
                break
            self._over.wait(min(0.2, max(0.0, deadline - time.monotonic())))
        self._given_up.set()
        self._wake.set()
        if self._emptied.is_set():
            return 0
        return max(1, self.undelivered)

    def deliver(self, timeout: float = 60.0) -> int:
        """Deliver all of a run now (`start` and `drain`). If nobody drives it any more, nothing
        stays RUNNING in MLflow."""
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
            # Read before the journal, so that everything appended before drain() is delivered.
            draining = self._draining.is_set()
            try:
                self._read()
                self._send()
                if self.problem:
                    self.problem = ""
                    self._suspicion = ""
                    pause = self._poll_seconds
                if draining and not self._waiting:
                    self._emptied.set()
                    return
            except Exception as error:  # from MLflow, its HTTP client or its database: go on
                pause = self._failed(error, pause)
                if draining and self._is_hopeless(error):
                    self._given_up.set()
                    return
            self._wake.wait(min(pause, 1.0) if draining else pause)
            self._wake.clear()

    def _failed(self, error: Exception, pause: float) -> float:
        """Warn of the first failure in a row. Returns the doubled pause."""
        first_line = secrets.mask(str(error)).partition("\n")[0][:200]
        is_first = not self.problem
        self.problem = f"{type(error).__name__}: {first_line}"
        self._suspicion = str(error)
        if is_first:
            self._say(
                f"MLflow at {self.tracking.shown} does not take what is delivered ({self.problem})."
                " Training goes on and the journal keeps everything; what is still missing at the"
                f" end goes out with: {self.tracking.command(self.run)}"
            )
        return min(max(2 * pause, 0.1), _LONGEST_PAUSE)

    def _say(self, text: str) -> None:
        with suppress(Exception):  # its reader may be gone
            self._warn(text)

    def _is_hopeless(self, error: Exception) -> bool:
        """Whether a driver that ends need not wait any longer, after a failed attempt."""
        self._failing_since = self._failing_since or time.monotonic()
        status = _http_status(error)
        text = str(error).lower()
        if "locked" in text or "read timed out" in text or status in _BUSY:
            return False  # the server is there, but slow
        if status in _LOCKED_OUT:
            return True
        if time.monotonic() - self._failing_since < _BRIEFLY:
            return False
        # The next attempt may mend the failure of one run, which must not hold back the others.
        return self._mirror is None or all(
            self._failures[number] >= _ATTEMPTS for number in self._waiting
        )

    def _open(self) -> Mirror:
        """The mirror to deliver to. The home's own store is created first where it is missing or
        damaged."""
        if self._store is not None:
            notice = self._store.prepare(self._suspicion)
            if notice:
                command = Home(self.run.folder.parent).command("deliver", "--all")
                self._say(f"{notice} Bring the other runs of this home back with: {command}")
        self._suspicion = ""
        artifacts = self.run.folder.parent / "mlflow"
        return Mirror(
            self.run.name, self.tracking.uri, self.tracking.experiment, artifacts, self._warn
        )

    def _read(self) -> None:
        self._unread.extend(self._reader.new())
        while self._unread:
            event = self._unread[0]
            num_warnings = len(self._story.warnings)
            self._story.add(event)
            if isinstance(event, ArtifactEvent):
                for text in self._story.warnings[num_warnings:]:
                    self._warn(text)
            self._note(event)
            self._unread.popleft()
        if self._driver_gone and self._story.state == "running":
            for number, trial in self._story.trials.items():
                self._waiting[number] += not trial.state.finished
            self._waiting[None] += 1
            self._story.interrupt("its driver died")

    def _note(self, event: Event) -> None:
        """Note which of MLflow's runs this event changes."""
        self._waiting[events.trial_of(event)] += 1
        match event:
            case DriverEvent() | ClosedEvent():
                for trial in self._story.trials.values():
                    self._waiting[trial.trial] += trial.state is TrialState.INTERRUPTED
            case EndEvent():
                self._waiting[None] += 1
                self._milestones.append(self._milestone(event))

    def _milestone(self, end: EndEvent) -> Milestone:
        finished = 1
        values = []
        if self._milestones:
            last = self._milestones[-1]
            finished += last.finished
            if last.best is not None:
                values.append(last.best)
        value = self._story.trials[end.trial].best_value
        if value is not None and end.state is not TrialState.FAILED:
            values.append(value)
        return Milestone(end.time, finished, min(values, default=None))

    def _send(self) -> None:
        """Send everything that waits. Raises at the first failure, after moving the failed run to
        the end of the line."""
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
            start = time.monotonic()
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
            self._failures = Counter()
            self._failing_since = None
            self._draining.wait(_REST * (time.monotonic() - start))


def _http_status(error: Exception) -> int:
    """The HTTP status in an exception of MLflow's; 0 for any other error."""
    if not hasattr(error, "get_http_status_code"):
        return 0
    status = re.search(r"(?:failed with error code|too many) (\d{3})\b", str(error))
    if status:
        return int(status[1])
    # MLflow also uses 503 for a database that is away.
    return min(500, int(error.get_http_status_code()))


def _require_mlflow(run: RunFolder) -> None:
    if find_spec("mlflow") is None:
        raise RunError(
            "Delivery needs the package mlflow, which is not installed here. The journal keeps"
            " every record; install it (pip install mlflow) and deliver with:"
            f" {run.command('deliver')}"
        )
