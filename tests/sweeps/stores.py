"""Real MLflow stores to deliver to, and what they hold in a form that can be compared."""

import functools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import ViewType

from sweeps.tracking.ui import Server

EXPERIMENT = "figure3"


class Stored(NamedTuple):
    """One MLflow run, without what differs from store to store (ids and addresses)."""

    status: str
    params: dict[str, str]
    tags: dict[str, str]
    history: dict[str, list[tuple[int, int, float]]]
    """(step, milliseconds, value) by metric."""
    files: list[str]


def stored(uri: str, name: str = EXPERIMENT, *, files: bool = True) -> dict[str, Stored]:
    """Every run of the experiment by its key; a key that two runs share fails."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    keys = {run.info.run_id: run.data.tags["zoneout.key"] for run in runs}
    assert len(set(keys.values())) == len(keys), f"one run per key: {sorted(keys.values())}"
    return {keys[run.info.run_id]: _stored(client, run, keys, files) for run in runs}


def _stored(client: MlflowClient, run: Any, keys: dict[str, str], files: bool) -> Stored:
    tags = dict(run.data.tags)
    if "mlflow.parentRunId" in tags:
        tags["mlflow.parentRunId"] = keys[tags["mlflow.parentRunId"]]
    history = {
        key: [
            (point.step, point.timestamp, point.value)
            for point in client.get_metric_history(run.info.run_id, key)
        ]
        for key in sorted(run.data.metrics)
    }
    paths = sorted(info.path for info in client.list_artifacts(run.info.run_id)) if files else []
    return Stored(run.info.status, run.data.params, tags, history, paths)


@functools.cache
def _empty_store(folder: Path) -> Path:
    """A SQLite store with MLflow's tables and nothing in them: making one takes seconds, copying
    none."""
    file = folder / "empty.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


def sqlite_store(home: Path, templates: Path) -> str:
    """The URI of an empty store in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_empty_store(templates), home / "mlflow.db")
    return f"sqlite:///{home / 'mlflow.db'}"


def kill(server: Server) -> None:
    """kill -9, as a machine that lost its power."""
    os.killpg(server.pid, signal.SIGKILL)
    server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A Postgres of our own on the loopback, which can be stopped and started."""

    def __init__(self, folder: Path, password: str) -> None:
        self._folder, self.port = folder, free_port()
        found = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
        self._environment = os.environ | {
            "PATH": os.pathsep.join([*found, os.environ["PATH"]]),
            "PGPASSWORD": password,
        }
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # Postgres refuses to be root
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
        (folder / "password").write_text(password)
        login = (
            ["-A", "scram-sha-256", f"--pwfile={folder}/password"] if password else ["-A", "trust"]
        )
        self._call("initdb", "-D", str(folder / "data"), "-U", "mlflow", *login, "--no-sync")
        self.start()
        server = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow"]
        self._call("psql", *server, "-d", "postgres", "-c", "CREATE DATABASE mlflow")

    @property
    def url(self) -> str:
        """SQLAlchemy's, of an empty database, without the password."""
        return f"postgresql+psycopg://mlflow@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._call(
            "pg_ctl",
            "-D",
            str(self._folder / "data"),
            "-o",
            options,
            "-l",
            f"{self._folder}/log",
            "-w",
            "start",
        )

    def stop(self) -> None:
        """At once, as a machine that loses its power."""
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def _call(self, *command: str) -> None:
        command = (*self._as_user, *command)
        subprocess.run(
            command, env=self._environment, check=True, stdout=subprocess.DEVNULL, cwd=self._folder
        )


@contextmanager
def own_postgres(password: str = "") -> Iterator[Postgres]:
    """A Postgres for the length of a test, which may have stopped it."""
    with TemporaryDirectory(
        prefix="postgres-"
    ) as name:  # not in pytest's folders, which nobody else may enter
        server = Postgres(Path(name), password)
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):
                server.stop()


@contextmanager
def postgres(password: str = "") -> Iterator[str]:
    """SQLAlchemy's URI of an empty database in a Postgres of our own, without the password."""
    with own_postgres(password) as server:
        yield server.url
