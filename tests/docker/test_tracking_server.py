"""compose.yaml's tracking server for real: its own command and settings, on a Postgres that wants a
password."""

import base64
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from sqlalchemy import make_url

from analysis import load
from sweeps.books import trial_rows
from sweeps.books.story import Story
from sweeps.tracking.delivery import Delivery
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import free_port, postgres
from zoneout_core.records import WORDS

pytestmark = pytest.mark.needs_postgres


@dataclass(frozen=True)
class Server:
    url: str
    password: str

    def status(self, path: str, *, password: str = "", host: str = "") -> int:
        """The HTTP status of a GET, with Basic authentication as `admin` when there is a
        password."""
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
    """The `mlflow` service as compose.yaml writes it, with only addresses, folders and secrets put
    in."""
    folder = tmp_path_factory.mktemp("tracking")
    docker = repo_root / "docker"
    service = yaml.safe_load((docker / "compose.yaml").read_text())["services"]["mlflow"]
    password, port, ini = secrets.token_hex(16), free_port(), folder / "mlflow_auth.ini"
    with postgres(password) as uri, (folder / "log").open("w") as log:
        places = {
            "@postgres/": f"@127.0.0.1:{make_url(uri).port}/",
            "/runs/mlflow": f"{folder}/artifacts",
            "0.0.0.0": "127.0.0.1",
            "--port=5000": f"--port={port}",
        }
        program, *arguments = [_put(argument, places) for argument in service["command"]]
        ini.write_text(_put((docker / "mlflow_auth.ini").read_text(), places))
        asked = {
            name: password if value.startswith("${") else value
            for name, value in service["environment"].items()
        }
        process = subprocess.Popen(
            [Path(sys.executable).with_name(program), *arguments],
            env=os.environ | asked | {"MLFLOW_AUTH_CONFIG_PATH": str(ini)},
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            yield _healthy(Server(f"http://127.0.0.1:{port}", password), process, folder / "log")
        finally:
            process.terminate()
            process.wait(30)


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
    """Otherwise a page that a browser shows could reach the server under its own name (DNS
    rebinding)."""
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert server.status(search, password=server.password, host="mlflow:5000") == 200
    assert server.status(search, password=server.password, host="evil.example") == 403


def test_a_delivered_run_is_read_back_from_the_server_alone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any task: what its numbers are stands beside them."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", server.password)
    run = RunMaker(tmp_path / "run1", epochs=3, task="word_ptb")
    run.driver()
    run.complete(0)
    run.pruned(1, epoch=1)
    run.closed()
    assert Delivery(run.folder, server.url, "words").deliver() == 0
    rows = trial_rows.rows(Story.of(run.folder / "journal.jsonl"))
    pd.testing.assert_frame_equal(
        load.trials(server.url, "words", "run1"), load.from_rows(rows, WORDS)
    )
    pd.testing.assert_frame_equal(
        load.curves(server.url, "words", "run1"), load.curves_from_rows(rows, WORDS)
    )


def test_artifacts_travel_through_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
