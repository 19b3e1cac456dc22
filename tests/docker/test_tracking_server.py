"""compose.yaml's tracking server for real: its own command and settings, on a Postgres that wants a password."""

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
import yaml

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(300)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def postgres_program(name: str) -> str:
    """Debian keeps the server's programs out of PATH."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    return str(found)


def as_postgres(*command: str | Path, cwd: Path) -> None:
    """Postgres refuses to be root."""
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    subprocess.run([*drop, *command], cwd=cwd, check=True, stdout=subprocess.DEVNULL, timeout=60)


@contextmanager
def postgres(folder: Path, password: str) -> Iterator[int]:
    """A Postgres of its own on the loopback, with user and database `mlflow`; yields its port."""
    folder.mkdir(mode=0o700)
    (folder / "password").write_text(password)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        shutil.chown(folder / "password", "postgres")
    cluster, port = folder / "cluster", free_port()
    login = ["--username=mlflow", "--auth=scram-sha-256", f"--pwfile={folder}/password"]
    as_postgres(postgres_program("initdb"), "-D", cluster, *login, cwd=folder)
    control = [postgres_program("pg_ctl"), "-D", cluster, "-w"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    as_postgres(*control, "-l", folder / "log", "-o", options, "start", cwd=folder)
    try:
        environment = os.environ | {"PGPASSWORD": password}
        create = [postgres_program("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"]
        subprocess.run(create, env=environment, check=True, timeout=60)
        yield port
    finally:
        as_postgres(*control, "-m", "immediate", "stop", cwd=folder)


@dataclass(frozen=True)
class Server:
    url: str
    password: str

    def status(self, path: str, *, password: str = "", host: str = "") -> int:
        """The HTTP status of a GET, with Basic authentication as `admin` when there is a password."""
        request = urllib.request.Request(self.url + path)
        if password:
            token = base64.b64encode(f"admin:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        if host:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@pytest.fixture(scope="module")
def server(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The `mlflow` service as compose.yaml writes it, with only addresses, folders and secrets put in."""
    folder = tmp_path_factory.mktemp("tracking")
    docker = repo_root / "docker"
    service = yaml.safe_load((docker / "compose.yaml").read_text())["services"]["mlflow"]
    password = secrets.token_hex(16)
    port = free_port()
    # Postgres' account has to reach its folder, and pytest's folders are closed to everyone else.
    outside = Path("/tmp") / f"zoneout-postgres-{secrets.token_hex(4)}"
    try:
        with postgres(outside, password) as database:
            places = {"@postgres/": f"@127.0.0.1:{database}/", "/runs/mlflow": f"{folder}/artifacts",
                      "0.0.0.0": "127.0.0.1", "--port=5000": f"--port={port}"}  # fmt: skip
            command = [_put(argument, places) for argument in service["command"]]
            ini = folder / "mlflow_auth.ini"
            ini.write_text(_put((docker / "mlflow_auth.ini").read_text(), places))
            environment = os.environ | {
                name: password if value.startswith("${") else value for name, value in service["environment"].items()
            }
            environment["MLFLOW_AUTH_CONFIG_PATH"] = str(ini)
            mlflow_program = Path(sys.executable).with_name(command[0])
            with (folder / "log").open("w") as log:
                process = subprocess.Popen(
                    [mlflow_program, *command[1:]],
                    env=environment,
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            try:
                yield _healthy(Server(f"http://127.0.0.1:{port}", password), process, folder / "log")
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(30)
    finally:
        shutil.rmtree(outside, ignore_errors=True)


def _put(text: str, places: dict[str, str]) -> str:
    for place, value in places.items():
        text = text.replace(place, value)
    return text


def _healthy(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> Server:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if server.status("/health") == 200:
                return server
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-4000:])


def test_only_who_knows_the_password_gets_in(server: Server) -> None:
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert server.status("/health") == 200
    assert server.status(search) == 401
    assert server.status(search, password="wrong-password") == 401
    assert server.status(search, password=server.password) == 200


def test_only_known_host_names_are_answered(server: Server) -> None:
    """Otherwise a page that a browser shows could reach the server under its own name (DNS rebinding)."""
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert server.status(search, password=server.password, host="mlflow:5000") == 200
    assert server.status(search, password=server.password, host="evil.example") == 403


def test_artifacts_travel_through_the_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", server.password)
    client = mlflow.MlflowClient(tracking_uri=server.url)
    run = client.create_run(client.create_experiment("deployment"))
    client.log_metric(run.info.run_id, "valid_chunked_bpc", 1.5, step=1)
    (tmp_path / "heatmap.txt").write_text("a picture")
    client.log_artifact(run.info.run_id, str(tmp_path / "heatmap.txt"))
    assert client.get_run(run.info.run_id).data.metrics == {"valid_chunked_bpc": 1.5}
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    fetched = client.download_artifacts(run.info.run_id, "heatmap.txt", str(tmp_path / "fetched"))
    assert Path(fetched).read_text() == "a picture"
