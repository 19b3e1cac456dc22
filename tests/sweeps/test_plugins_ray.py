"""A user's plug-ins under Ray: in a Ray of our own, and on two nodes of which one never sees the
folder."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sweeps.books.run_folder import Home
from sweeps.books.story import Story
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import curves
from tests.sweeps.driving import PATIENCE, Driver
from tests.sweeps.truths import check_books

pytestmark = pytest.mark.timeout(600)  # two clusters begin, one after the other

SMALL = {"hidden_size": 4, "epochs": 100, "train_fraction": 0.05, "eval_fraction": 0.05}
SETTINGS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
RAY = Path(sys.executable).with_name("ray")
WITHOUT = 'hostname other-node && mount -t tmpfs none "$0" && exec "$@"'
"""Become another host, on which the folder $0 is empty."""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Path:
    return Path(
        shutil.copytree(repo_root / "tests/plugins", tmp_path_factory.mktemp("user") / "plugins")
    )


@pytest.fixture(scope="module")
def expected(plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the sweep exports that ran inline and undisturbed."""
    home = tmp_path_factory.mktemp("inline")
    done = sweep(
        *("run", "leaky_plane", "--plugins", plugins, "--inline", "--tracking", "none"),
        "--home",
        home,
        *SETTINGS,
    )
    assert done.code == 0, done.err
    return curves(Home(home).run("latest"))


def begin(home: Path, plugins: Path, *arguments: str) -> Driver:
    return Driver(
        home,
        "run",
        "leaky_plane",
        "--plugins",
        str(plugins),
        "--tracking",
        "none",
        *SETTINGS,
        *arguments,
    )


def finish(driver: Driver, expected: str, *arguments: str) -> None:
    """Kill it, have it gone on with, and read it."""
    driver.until_records(12)
    driver.kill()
    again = Driver(driver.home, "resume", "latest", "--tracking", "none", *arguments)
    assert "4 of 4 trials: 4 complete" in again.wait()
    run = again.run
    assert curves(run) == expected
    check_books(run)
    drawn = sweep("report", run.name, *home_of(run))
    assert drawn.code == 0, drawn.err
    assert str(run.report / "heatmap.png") in drawn.out


def test_in_a_ray_of_our_own(plugins: Path, tmp_path: Path, expected: str) -> None:
    finish(begin(tmp_path / "home", plugins), expected)


@pytest.mark.needs_namespaces
@pytest.mark.needs_mount
def test_on_two_nodes_of_which_one_never_sees_the_folder(
    plugins: Path, tmp_path: Path, expected: str
) -> None:
    own = Path(shutil.copytree(plugins, tmp_path / "plugins"))
    with two_nodes(own) as address:
        driver = begin(tmp_path / "home", own, "--lanes", "1", "--address", address)
        driver.until(trains_on_both)  # trials are long enough for a node that begins late
        shutil.rmtree(own)  # nor does the other one, from here on
        finish(driver, expected, "--address", address)


def trains_on_both(story: Story) -> bool:
    """Whether trials were placed on this host and on the other."""
    hosts = {trial.placement.host for trial in story.trials.values() if trial.placement}
    return hosts == {socket.gethostname(), "other-node"}


@contextmanager
def two_nodes(hidden: Path) -> Iterator[str]:
    """A cluster on the loopback, of two nodes with a core each; `hidden` is empty on the second. Its
    address."""
    small = ["--num-cpus=1", '--resources={"lane": 1}', "--object-store-memory=80000000", "--block"]
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as scratch,
        socket.socket() as taken,
    ):
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        port = address.partition(":")[2]
        head = [
            "--head",
            f"--port={port}",
            "--node-ip-address=127.0.0.1",
            "--include-dashboard=false",
        ]
        alone = ["unshare", "--mount", "--uts", "sh", "-c", WITHOUT, str(hidden)]
        join = [f"--address={address}", "--node-ip-address=127.0.0.1"]
        nodes = []
        try:
            nodes.append(
                _start([str(RAY), "start", *head, f"--temp-dir={scratch}", *small], scratch)
            )
            _wait(address, 1)
            nodes.append(_start([*alone, str(RAY), "start", *join, *small], scratch))
            _wait(address, 2)
            yield address
        finally:
            for node in reversed(nodes):
                processes = psutil.Process(node.pid).children(recursive=True)
                node.terminate()  # it ends its processes
                node.wait(60)
                for process in psutil.wait_procs(processes, timeout=10)[1]:
                    process.kill()


def _start(command: list[str], folder: str) -> "subprocess.Popen[bytes]":
    with Path(folder, f"node-{time.monotonic_ns()}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)


def _wait(address: str, count: int) -> None:
    """Wait until the cluster has so many nodes."""
    look = (
        "import socket, sys, time, ray\n"
        "host, _, port = sys.argv[1].partition(':')\n"
        "while socket.socket().connect_ex((host, int(port))):\n"
        "    time.sleep(0.2)\n"
        "ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')\n"
        "while sum(node['Alive'] for node in ray.nodes()) < int(sys.argv[2]):\n"
        "    time.sleep(0.2)\n"
    )
    subprocess.run([sys.executable, "-c", look, address, str(count)], check=True, timeout=PATIENCE)
