"""Two networks joined by a cable, made for a test: what the world outside sees of a process in the
first one."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE, THERE = "198.51.100.1", "198.51.100.2"
"""Addresses of the two ends."""


@dataclass(frozen=True)
class Network:
    """A network namespace, which lives as long as its first process."""

    pid: int

    @property
    def enter(self) -> list[str]:
        """A command that becomes the one after it, in this network."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def call(self, *command: str, timeout: float = 60, **options: Any) -> str:
        """Output of a command in this network. Raises when it fails."""
        done = subprocess.run(
            [*self.enter, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            **options,
        )
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    def listeners(self) -> list[tuple[str, int, str]]:
        """Address, port and program of every socket that listens, TCP and UDP."""
        found = []
        for line in self.call("ss", "-Hltunp").splitlines():
            address, _, port = line.split()[4].rpartition(":")
            found.append(
                (address.strip("[]"), int(port), line.partition('(("')[2].partition('"')[0])
            )
        return found


@contextmanager
def two_networks() -> Iterator[tuple[Network, Network]]:
    """The one with address `HERE`, and the one with `THERE`, which is its way to the world."""
    holders = [subprocess.Popen(["unshare", "--net", "sleep", "3600"]) for _ in range(2)]
    try:
        here, there = (Network(holder.pid) for holder in holders)
        for network in (here, there):
            _wait_for(network)
            network.call("ip", "link", "set", "lo", "up")
        here.call(
            "ip",
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            str(there.pid),
        )
        for network, address in ((here, HERE), (there, THERE)):
            network.call("ip", "address", "add", f"{address}/24", "dev", "cable")
            network.call("ip", "link", "set", "cable", "up")
        here.call("ip", "route", "add", "default", "via", THERE)
        yield here, there
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def _wait_for(network: Network) -> None:
    """`unshare` has become `sleep`, and so is in its own network."""
    for _ in range(100):
        if Path(f"/proc/{network.pid}/comm").read_text().strip() == "sleep":
            return
        time.sleep(0.05)
    raise AssertionError("no network")
