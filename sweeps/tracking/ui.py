"""`sweep ui`: MLflow's own web interface for the store of a run, on the loopback only."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote
from urllib.request import Request, urlopen

from sweeps.books.run_folder import Home, RunFolder
from sweeps.pasting import in_home
from sweeps.tracking.delivery import Tracking
from zoneout_core.errors import RunError

HOST = "127.0.0.1"
PORT = 5000
_WORKFLOW = "workflowType=machine_learning"
_START_SECONDS = 90.0
_STOP_SECONDS = 10.0


class Server:
    """An `mlflow server` process on the loopback; use it as a context manager, or call `stop`.

    `port` 0 picks a free port. Its output goes to `mlflow-server.log` beside `artifacts`. Raises
    `RunError` when the port is taken or the server does not come up.
    """

    def __init__(self, store_uri: str, artifacts: Path, port: int = PORT) -> None:
        self.port = _free_port(port)
        self.address = f"http://{HOST}:{self.port}"
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            HOST,
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        command += ["--artifacts-destination", artifacts.absolute().as_uri()]
        # Job runners would be seven more processes and 1.2 GB that sweeps do not need.
        environment = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        # Not an argument, since everyone may read those, and the URI may have a password.
        environment["MLFLOW_BACKEND_STORE_URI"] = store_uri
        self._log = artifacts.parent / "mlflow-server.log"
        self._log.unlink(missing_ok=True)
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group, so that no worker outlives the server
            )

    @property
    def pid(self) -> int:
        """The process id of the server, which leads a process group."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the server answers. Raises `RunError`, naming its log, when it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urlopen(f"{self.address}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        code = self._process.poll()
        self.stop()
        if code is None:
            failure = "did not answer"
        else:
            failure = f"ended with code {code}"
        command = in_home(self._log.parent, "status", "latest")
        raise RunError(
            f"The MLflow server on port {self.port} must answer within {_START_SECONDS:.0f}"
            f" seconds, but {failure}. What it said is in {self._log}; without it, see the numbers"
            f" with: {command}"
        )

    def page(self, experiment: str) -> str:
        """The address of an experiment's runs, or of the list of experiments while there is none of
        that name.

        Without the workflow in the address MLflow shows traces of language models first, and hides
        training runs.
        """
        try:
            experiment_id = self._experiment_id(experiment)
        except OSError:
            return f"{self.address}/#/experiments?{_WORKFLOW}"
        return f"{self.address}/#/experiments/{experiment_id}/runs?{_WORKFLOW}"

    def has(self, run: str, experiment: str) -> bool:
        """Whether the run was delivered here."""
        from analysis.mlflow_filter import tag_is
        from sweeps.tracking.mirror import KEY

        try:
            query = {
                "experiment_ids": [self._experiment_id(experiment)],
                "filter": tag_is(KEY, run),
                "max_results": 1,
            }
            search = Request(
                f"{self.address}/api/2.0/mlflow/runs/search",
                json.dumps(query).encode(),
                {"Content-Type": "application/json"},
            )
            with urlopen(search, timeout=30) as reply:
                return bool(json.load(reply).get("runs"))
        except OSError:  # no such experiment
            return False

    def _experiment_id(self, name: str) -> str:
        """Raises `OSError` when there is no such experiment."""
        api = f"{self.address}/api/2.0/mlflow/experiments"
        with urlopen(f"{api}/get-by-name?experiment_name={quote(name)}", timeout=30) as reply:
            experiment_id: str = json.load(reply)["experiment"]["experiment_id"]
        return experiment_id

    def wait(self) -> None:
        """Wait until the server ends by itself."""
        self._process.wait()

    def stop(self) -> None:
        """End the server and its workers. Harmless when they have ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue

    def __enter__(self) -> Self:
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve(place: RunFolder | Home, port: int, say: Callable[[str], None]) -> None:
    """Show a run (or all runs of a home's local store) until Ctrl-C or SIGTERM; `say` gets the
    address.

    If the run was delivered to a server elsewhere, only that server's address is said, after a
    check that it has the run. Raises `RunError` when that server does not have the run or does not
    answer, when nothing was ever delivered, when the port is taken, and when the server does not
    come up.
    """
    if isinstance(place, Home):
        home = place.folder
        tracking = Tracking.local(home, "")
    else:
        home = place.folder.parent
        tracking = Tracking.of(place)
    if tracking.uri.startswith(("http://", "https://")):
        assert isinstance(place, RunFolder), "a home's own store is no server"
        _check_delivered(place, tracking)
        say(
            f"This run is in the MLflow server at {tracking.shown}, experiment"
            f" {tracking.experiment}."
        )
        return
    if tracking.uri == Tracking.local(home, "").uri and not (home / "mlflow.db").exists():
        raise _not_there(place, tracking)
    old_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Server(tracking.uri, home / "mlflow", port) as server:
            page = server.page(tracking.experiment)
            if isinstance(place, Home) or server.has(place.name, tracking.experiment):
                say(f"MLflow shows it at {page} (Ctrl-C ends it)")
            else:  # it may be delivered while the pages are open
                say(
                    f"{_not_there(place, tracking)}   MLflow's pages are at {page} (Ctrl-C ends"
                    " them)"
                )
            server.wait()
    except KeyboardInterrupt:
        say("Ended.")
    finally:
        signal.signal(signal.SIGTERM, old_handler)


def _check_delivered(run: RunFolder, tracking: Tracking) -> None:
    """Raises `RunError` unless the server answers and has the run. Logs in by MLflow's own
    variables."""
    from sweeps.tracking.mirror import has_run  # MLflow takes seconds to import

    try:
        is_delivered = has_run(tracking.uri, tracking.experiment, run.name)
    except Exception as error:  # from MLflow or its HTTP client
        first_line = str(error).partition("\n")[0][:200]
        raise RunError(
            f"Run {run.name} belongs to the MLflow server at {tracking.shown}, which must answer,"
            f" but: {first_line}. See the numbers with: {run.command('status')}"
        ) from error
    if not is_delivered:
        raise _not_there(run, tracking)


def _not_there(place: RunFolder | Home, tracking: Tracking) -> RunError:
    if isinstance(place, Home):
        return RunError(
            f"Nothing was delivered to {tracking.shown} yet. Do it with:"
            f" {place.command('deliver', '--all')}"
        )
    return RunError(
        f"Run {place.name} is not in MLflow at {tracking.shown}. Bring it there with:"
        f" {tracking.command(place)}"
    )


def _free_port(port: int) -> int:
    """`port` if nobody listens there, or a free port for 0. Raises `RunError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RunError(
                f"The page needs port {port} of {HOST}, but cannot have it: {error.strerror}. See"
                f" who has it with: ss -ltnp 'sport = :{port}'. Take another one with --port N,"
                " or any free one with --port 0."
            ) from error
        return int(probe.getsockname()[1])
