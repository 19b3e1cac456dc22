import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from sweeps.books.run_folder import Home, RunFolder
from sweeps.tracking.delivery import Delivery, Tracking
from sweeps.tracking.ui import Server, serve
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import EXPERIMENT, free_port
from zoneout_core.errors import RunError


@pytest.fixture
def delivered(run: RunMaker, uri: str) -> RunMaker:
    run.driver()
    run.complete(0)
    run.closed()
    tracking = Tracking(uri, EXPERIMENT)
    tracking.save(RunFolder(run.folder))
    assert Delivery(run.folder, *tracking).deliver() == 0
    return run


SERVE = """
import sys
from pathlib import Path
from sweeps.books.run_folder import Home, RunFolder
from sweeps.tracking.ui import serve
kind, folder = sys.argv[1:]
serve(RunFolder(Path(folder)) if kind == "run" else Home(folder), 0, lambda text: print(text, flush=True))
"""


def listening(process: psutil.Process) -> list[str]:
    """The addresses at which a process hears."""
    return [
        connection.laddr.ip
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]


@pytest.fixture
def serving(delivered: RunMaker, repo_root: Path) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-c", SERVE, "run", str(delivered.folder)]
    with subprocess.Popen(command, cwd=repo_root, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_tells_the_page_of_the_runs_and_ends_without_a_stray_process(
    serving: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    assert serving.stdout is not None
    told = serving.stdout.readline()
    address = told.split()[4]
    assert told == f"MLflow shows it at {address} (Ctrl-C ends it)\n"
    server, page = address.split("/#")
    assert page == "/experiments/1/runs?workflowType=machine_learning"
    with urlopen(f"{server}/api/2.0/mlflow/experiments/get?experiment_id=1") as reply:
        assert json.load(reply)["experiment"]["name"] == EXPERIMENT
    children = psutil.Process(serving.pid).children(recursive=True)
    assert children
    assert {address for child in children for address in listening(child)} == {"127.0.0.1"}
    serving.send_signal(number)
    assert serving.stdout.read() == "Ended.\n"
    assert serving.wait(20) == 0
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_port_that_is_taken_is_named_with_the_way_out(delivered: RunMaker) -> None:
    with socket.create_server(("127.0.0.1", port := free_port())), pytest.raises(RunError) as error:
        serve(RunFolder(delivered.folder), port, print)
    assert str(error.value) == (
        f"The page needs port {port} of 127.0.0.1, but cannot have it: Address already in use. See who has it with: "
        f"ss -ltnp 'sport = :{port}'. Take another one with --port N, or any free one with --port 0."
    )


def test_a_run_on_a_server_elsewhere_is_looked_for_and_told(delivered: RunMaker, uri: str) -> None:
    run = RunFolder(delivered.folder)
    with Server(uri, run.folder.parent / "mlflow", 0) as server:
        Tracking(server.address, EXPERIMENT).save(run)
        said: list[str] = []
        serve(run, 0, said.append)
        assert said == [
            f"This run is in the MLflow server at {server.address}, experiment {EXPERIMENT}."
        ]
        Tracking(server.address, "another").save(run)
        with pytest.raises(RunError) as error:
            serve(run, 0, said.append)
        assert str(error.value) == (
            f"Run run1 is not in MLflow at {server.address}. "
            f"Bring it there with: sweep deliver run1 --home {run.folder.parent}"
        )


def test_a_server_that_does_not_answer_is_claimed_to_have_nothing(run: RunMaker) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    Tracking(nobody, "demo").save(RunFolder(run.folder))
    said: list[str] = []
    with pytest.raises(RunError) as error:
        serve(RunFolder(run.folder), 0, said.append)
    assert str(error.value).startswith(
        f"Run run1 belongs to the MLflow server at {nobody}, which must answer, but: "
    )
    assert str(error.value).endswith(
        f"See the numbers with: sweep status run1 --home {run.folder.parent}"
    )
    assert said == []


def test_a_home_with_no_store_says_what_to_do(run: RunMaker) -> None:
    Tracking.local(run.folder.parent, "demo").save(RunFolder(run.folder))
    with pytest.raises(
        RunError,
        match=r"Run run1 is not in MLflow at sqlite:.*Bring it there with: sweep deliver run1",
    ):
        serve(RunFolder(run.folder), 0, print)


def test_a_server_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, and more than a header of one" * 9)
    port = free_port()
    with (
        pytest.raises(RunError) as error,
        Server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlflow", port),
    ):
        pass
    log = tmp_path / "mlflow-server.log"
    assert str(error.value).startswith(
        f"The MLflow server on port {port} must answer within 90 seconds, but ended with"
    )
    assert str(error.value).endswith(
        f"What it said is in {log}; without it, see the numbers with: sweep status latest --home {tmp_path}"
    )
    assert "file is not a database" in log.read_text()


def test_a_home_with_nothing_delivered_shows_the_list_of_experiments(
    tmp_path: Path, uri: str
) -> None:
    home = Home(tmp_path / "home")
    with Server(uri, home.folder / "mlflow", 0) as server:
        assert server.page("") == f"{server.address}/#/experiments?workflowType=machine_learning"
        assert (
            server.page("not there")
            == f"{server.address}/#/experiments?workflowType=machine_learning"
        )
