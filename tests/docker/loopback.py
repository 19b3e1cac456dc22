"""Two hosts that are one: an SSH server on two loopback addresses, inside namespaces of its own.

Nothing in there reaches the network or the machine's other processes, so that `ray stop`, which
kills every Ray it can see, and fixed ports do no harm; and killing the first process ends all of
it.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HEAD, WORKER = "127.0.0.1", "127.0.0.2"
SSHD_CONFIG = """
ListenAddress {head}
ListenAddress {worker}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""
INIT = """
set -e
ip link set lo up
mkdir -p {folder}/ray /tmp/ray /run/sshd
mount --bind {folder}/ray /tmp/ray
mount --bind {folder}/passwd /etc/passwd
exec {sshd} -D -e -f {folder}/sshd_config
"""


@dataclass(frozen=True)
class Hosts:
    """The running pair. `home` is the home folder of both, `key` logs in to them as root."""

    folder: Path
    pid: int
    """The SSH server, seen from outside: the first process of the namespaces."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def run(
        self, *command: str | Path, cwd: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the person at the keyboard would, who has a home of their own."""
        launcher = self.folder / "launcher"
        launcher.mkdir(exist_ok=True)
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", f"--wdns={cwd}"]
        environment = os.environ | {
            "HOME": str(launcher),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        del environment["RAY_AUTH_MODE"]
        done = subprocess.run(
            [*enter, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        with (self.folder / "log").open("a") as log:
            log.write(f"$ {' '.join(map(str, command))}\n{done.stdout}\n-> {done.returncode}\n")
        return done


@contextmanager
def two_hosts(folder: Path) -> Iterator[Hosts]:
    """Start the pair in `folder`; on leaving, everything that ran in there is dead."""
    (folder / "home").mkdir()
    for name in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(head=HEAD, worker=WORKER, folder=folder))
    # SSH goes by this file, not by $HOME: the hosts' root gets a home of its own.
    users = Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(
        re.sub(r"^root:.*", f"root:x:0:0:root:{folder}/home:/bin/bash", users, flags=re.M)
    )
    sshd = subprocess.run(
        ["sh", "-c", "PATH=$PATH:/usr/sbin command -v sshd"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    script = INIT.format(folder=folder, sshd=sshd)
    unshare = [
        "unshare",
        "--mount",
        "--pid",
        "--net",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "bash",
        "-c",
        script,
    ]
    with (folder / "sshd.log").open("w") as log:
        outer = subprocess.Popen(unshare, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Hosts(folder, _listening(outer, folder / "sshd.log"))
    finally:
        inside = psutil.Process(outer.pid).children()
        outer.kill()
        outer.wait()
        psutil.wait_procs(
            inside, timeout=30
        )  # a namespace's first process is gone only when all the others are


def _listening(outer: "subprocess.Popen[bytes]", log: Path) -> int:
    """The pid of the SSH server, once it listens on both addresses."""
    for _ in range(100):
        children = psutil.Process(outer.pid).children()
        if children and log.read_text().count("Server listening") == 2:
            return children[0].pid
        assert outer.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"sshd does not listen: {log.read_text()}")
