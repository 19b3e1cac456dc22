"""A Ray of our own is closed: to the network, to other users, and to who finds its files. Nothing
of it is left."""

import errno
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from sweeps.drivers.local_ray import LONGEST_FOLDER, PREFIX, private_ray, remove_leftovers
from tests.sweeps import attacker
from tests.sweeps.driven import TINY, settings
from tests.sweeps.driving import Driver, sweep_resume
from tests.sweeps.networks import HERE, Network, two_networks

LONG = TINY | {"epochs": "5000"}
DOOR = 8000
NOBODY = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *(
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ),  # this Python may lie in a home of root's
]
"""Another user of the machine. Without the last two words, one who may not read what others may
not."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the sweeps of a test have their Ray's files: a short path that everyone may enter, as
    /tmp is."""
    with TemporaryDirectory(prefix="s", dir="/tmp") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def is_loopback(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def token_of(driver: Driver) -> Path:
    """The file with the token of the driver's Ray."""
    (gcs,) = [process for process in driver.processes() if process.name() == "gcs_server"]
    return Path(gcs.environ()["RAY_AUTH_TOKEN_PATH"])


def long_run(home: Path, temporary: Path, *arguments: str, before: tuple[str, ...] = ()) -> Driver:
    """A driver that has told an epoch, and goes on for long."""
    command = ["run", "demo", *settings(LONG), "--tracking", "none", *arguments]
    driver = Driver(home, *command, before=before, RAY_TMPDIR=str(temporary))
    driver.until_records(1)
    return driver


def test_it_keeps_to_the_loopback_and_its_token_to_itself_and_a_killed_one_is_cleared_away(
    tmp_path: Path, temporary: Path
) -> None:
    driver = long_run(tmp_path / "home", temporary)
    processes = driver.processes()
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
    ]
    assert len(listening) > 5, "GCS, raylet, agents, workers and the driver"
    assert [address for address in listening if not is_loopback(address)] == []

    token = token_of(driver)
    secret = token.read_text()
    assert len(secret) == 64
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in (token.parent, token)] == [
        (token.parent.name, 0o700),
        ("token", 0o600),
    ]
    assert token.parent.parent == temporary
    told = [word for process in processes for word in process.cmdline()]
    assert [word for word in told if secret in word] == []

    driver.kill()
    assert token.exists(), "a killed process clears nothing away"
    texts = [  # now that nobody writes, or renames a file between these lines
        path
        for folder in (temporary, tmp_path)
        for path in folder.rglob("*")
        if path.is_file() and path != token
    ]
    assert [path for path in texts if secret.encode() in path.read_bytes()] == []
    records = sum(trial.epoch for trial in driver.run.story().trials.values())
    again = sweep_resume(driver.home, "--tracking", "none", RAY_TMPDIR=str(temporary))
    again.until_records(records + 1)  # by then its own Ray trains
    assert not token.parent.exists()
    assert token_of(again).read_text() != secret
    again.interrupt()
    again.wait(130)
    assert list(temporary.iterdir()) == []


@pytest.mark.needs_namespaces
def test_neither_another_host_nor_another_user_runs_code_in_it(
    tmp_path: Path, temporary: Path
) -> None:
    with two_networks() as (here, there), open_door(here):
        driver = long_run(tmp_path / "home", temporary, before=tuple(here.enter))
        listeners = here.listeners()
        assert [one[:2] for one in listeners if not is_loopback(one[0])] == [(HERE, DOOR)]
        ports = sorted({port for _, port, _ in listeners})
        assert len(ports) > 5

        reach = f"import socket\nfor port in {ports}: print(port, socket.socket().connect_ex(({HERE!r}, port)))"
        told = dict(line.split() for line in there.call(sys.executable, "-c", reach).splitlines())
        assert told.pop(str(DOOR)) == "0", "the cable works"
        assert set(told.values()) == {str(errno.ECONNREFUSED)}

        (gcs,) = {port for _, port, program in listeners if program == "gcs_server"}
        token = token_of(driver)
        known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        control, *others = attacks(
            here,
            f"127.0.0.1:{gcs}",
            ([], known),
            ([], {}),
            ([], wrong),
            (NOBODY, {}),
            (NOBODY, wrong),
        )
        read = subprocess.run([*NOBODY[:4], "cat", token], capture_output=True, text=True)
        look = subprocess.run([*NOBODY[:4], "ls", token.parent], capture_output=True, text=True)
        driver.kill()
        assert control == "ran code as user 0", "the attack is a good one"
        assert [said for said in others if not said.startswith("refused: ")] == []
        assert all("Permission denied" in done.stderr and not done.stdout for done in (read, look))


@contextmanager
def open_door(network: Network) -> Iterator[None]:
    """A server that does listen to the world."""
    server = subprocess.Popen(
        [*network.enter, sys.executable, "-m", "http.server", "--bind", HERE, str(DOOR)]
    )
    try:
        yield
    finally:
        server.kill()
        server.wait()


def attacks(network: Network, address: str, *by: tuple[list[str], dict[str, str]]) -> list[str]:
    """How far those come who run a command first, in an environment. All at once: each is refused
    after a while."""
    without = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    running = [
        subprocess.Popen(
            [*network.enter, *become, sys.executable, attacker.__file__, address],
            env=without | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
        )
        for become, environment in by
    ]
    return [process.communicate(timeout=400)[0].splitlines()[-1] for process in running]


def test_its_web_services_want_the_token_too(tmp_path: Path, temporary: Path) -> None:
    driver = long_run(tmp_path / "home", temporary)
    codes = {}
    for process in driver.processes():
        for connection in process.net_connections("inet"):
            if connection.status != psutil.CONN_LISTEN:
                continue
            for path in ("/api/job_agent/jobs/", "/get_or_create_runtime_env"):
                with suppress(OSError, HTTPException):  # no web service at all
                    request = Request(
                        f"http://127.0.0.1:{connection.laddr.port}{path}", b"{}", method="POST"
                    )
                    codes[connection.laddr.port, path] = status(request)
    driver.kill()
    remove_leftovers(temporary)
    assert 401 in codes.values()
    assert set(codes.values()) <= {401, 403, 404, 405, 501}, codes


def status(request: Request) -> int:
    try:
        with urlopen(request, timeout=5) as reply:
            return int(reply.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_what_is_set_for_a_cluster_is_there_again_afterwards(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._raylet import AuthenticationMode, get_authentication_mode

    monkeypatch.setenv("RAY_TMPDIR", str(temporary))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the cluster's")
    monkeypatch.delenv("RAY_AUTH_MODE")
    before = dict(os.environ)
    secrets = []
    for _ in range(2):
        with private_ray() as folder:
            assert folder.parent.parent == temporary
            assert "RAY_AUTH_TOKEN" not in os.environ
            assert get_authentication_mode() == AuthenticationMode.TOKEN
            secrets.append(Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text())
        assert dict(os.environ) == before
        assert get_authentication_mode() == AuthenticationMode.DISABLED
    assert secrets[0] != secrets[1]
    assert list(temporary.iterdir()) == []


def test_a_deep_folder_for_temporary_files_does_not_make_its_sockets_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "a_folder_with_a_long_name"
    deep.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    with private_ray() as folder:
        assert folder.parent.parent == Path("/tmp")
        assert len(str(folder)) <= LONGEST_FOLDER


def test_a_leftover_that_is_still_written_into_is_removed_as_soon_as_that_ends(
    temporary: Path,
) -> None:
    dead = temporary / f"{PREFIX}dead"
    dead.mkdir()
    writes = f"""if 1:
        import contextlib, pathlib, time
        until = time.monotonic() + 1
        while time.monotonic() < until:
            path = pathlib.Path({str(dead)!r}, "logs", str(time.monotonic_ns()))
            with contextlib.suppress(OSError):  # gone between two of these calls
                path.parent.mkdir(exist_ok=True)
                path.touch()
        """
    with subprocess.Popen([sys.executable, "-c", writes]) as writer:
        while not list(dead.iterdir()):
            time.sleep(0.01)
        remove_leftovers(temporary)
        assert writer.wait() == 0
    assert not dead.exists()


def test_folders_in_use_links_and_other_files_are_no_leftovers(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(temporary))
    mine = temporary / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("years of work")
    (temporary / f"{PREFIX}link").symlink_to(mine)
    (temporary / f"{PREFIX}file").write_text("")
    (temporary / f"{PREFIX}dead").mkdir()
    (temporary / f"{PREFIX}dead" / "link").symlink_to(mine)
    with private_ray() as folder:
        remove_leftovers(temporary)
        assert (folder.parent / "token").exists()
    assert sorted(path.name for path in temporary.iterdir()) == [
        "mine",
        f"{PREFIX}file",
        f"{PREFIX}link",
    ]
    assert (mine / "thesis").read_text() == "years of work"
