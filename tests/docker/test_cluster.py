"""docker/cluster.yaml for real: `ray up`, `ray submit` of a sweep whose trials run on both hosts,
`ray down`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from sweeps.books import journal
from sweeps.books.events import EndEvent, PlacedEvent
from tests.docker.loopback import HEAD, WORKER, Hosts, two_hosts

pytestmark = pytest.mark.needs_sshd

# So many epochs that the first host is still busy when the second one's clients have started: a
# client that is free takes any trial that waits.
SWEEP = [
    "demo",
    "--set",
    "epochs=30",
    "--set",
    "hidden_size=8",
    "--set",
    "train_fraction=0.005",
    "--lanes",
    "4",
]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with two_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        (hosts.home / "zoneout-venv").symlink_to(sys.prefix)
        yield hosts


@pytest.fixture(scope="module")
def definition(hosts: Hosts, repo_root: Path) -> Path:
    """docker/cluster.yaml with its four lines edited, and with what two hosts in one machine
    need."""
    cluster = yaml.safe_load((repo_root / "docker/cluster.yaml").read_text())
    cluster["provider"] |= {"head_ip": HEAD, "worker_ips": [WORKER]}
    cluster["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    # The virtual environment of these tests is installed already.
    cluster["setup_commands"] = [c for c in cluster["setup_commands"] if "pip install" not in c]
    small = " --num-cpus=1 --object-store-memory=100000000"
    cluster["head_start_ray_commands"][-1] += small
    # No `ray stop` on the worker, because it sees the head's processes; and a host name of its own.
    start = cluster["worker_start_ray_commands"][-1] + small
    named = """unshare --uts sh -c 'hostname worker && exec "$@"' - ray start"""
    cluster["worker_start_ray_commands"] = [start.replace("ray start", named)]
    file = hosts.folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(cluster, width=10_000))
    return file


@pytest.fixture(scope="module")
def ray_node_healthcheck(repo_root: Path) -> list[str]:
    compose = yaml.safe_load((repo_root / "docker/compose.yaml").read_text())
    test: list[str] = compose["services"]["worker"]["healthcheck"]["test"]
    assert test[0] == "CMD"
    return test[1:]


def test_a_sweep_uses_both_hosts(
    hosts: Hosts, definition: Path, repo_root: Path, ray_node_healthcheck: list[str]
) -> None:
    def ray(*command: str | Path) -> str:
        done = hosts.run("ray", *command, cwd=repo_root, timeout=400)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    ray("get-auth-token", "--generate")
    ray("up", definition, "--yes")
    assert hosts.run(*ray_node_healthcheck, cwd=repo_root, timeout=30).returncode == 0

    closed = hosts.run(
        "env",
        "RAY_AUTH_MODE=disabled",
        "ray",
        "status",
        f"--address={HEAD}:6379",
        cwd=repo_root,
        timeout=60,
    )
    assert closed.returncode != 0
    assert "InvalidAuthToken" in closed.stdout

    ray("submit", definition, "sweeps/submit.py", "--", "run", *SWEEP, "--tracking", "none")
    (run,) = (hosts.home / "zoneout-runs").glob("demo-*")
    events = list(journal.read(run / "journal.jsonl"))
    ended = [event.state for event in events if isinstance(event, EndEvent)]
    placed = {event.host for event in events if isinstance(event, PlacedEvent)}
    assert ended == ["complete"] * 9
    assert len(placed) == 2, placed
    assert "worker" in placed

    refused = hosts.run(
        "ray",
        "submit",
        definition,
        "sweeps/submit.py",
        "--",
        "show",
        "dmeo",
        cwd=repo_root,
        timeout=60,
    )
    assert refused.returncode == 1
    assert "error: There is no sweep named 'dmeo'. Did you mean 'demo'?" in refused.stdout

    ray("down", definition, "--yes")
    assert hosts.run(*ray_node_healthcheck, cwd=repo_root, timeout=30).returncode != 0


def test_nothing_outlives_the_hosts(tmp_path: Path, repo_root: Path) -> None:
    with two_hosts(tmp_path) as hosts:
        asleep = hosts.run(
            "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo started", cwd=repo_root, timeout=30
        )
        assert asleep.stdout == "started\n"
        inside = psutil.Process(hosts.pid).children(recursive=True)
        assert [p.name() for p in inside] == ["sleep"]
    assert not psutil.pid_exists(hosts.pid)
    assert not inside[0].is_running()
