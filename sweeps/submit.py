"""The script that `ray submit docker/cluster.yaml sweeps/submit.py -- run NAME` runs on a cluster's
head. It runs `sweep run NAME` there.

Ray uploads this one file; `ray up` has installed the package. Hosts join up to half a minute after
`ray up` returns, and a sweep uses only those that are there when it begins, so this script waits
for them.
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweeps.cli import main
from sweeps.cli.options import plugins_apart

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""The cluster's definition, which `ray up` puts on the head."""
WAIT_SECONDS = 90.0
POLL_SECONDS = 1.0


def arguments(command_line: Sequence[str]) -> list[str]:
    """The arguments of the command line. A driver uses the existing cluster unless they name
    another one."""
    has_address = any(argument.split("=")[0] == "--address" for argument in command_line)
    if drives(command_line) and not has_address:
        return [*command_line, "--address", "auto"]
    return list(command_line)


def drives(command_line: Sequence[str]) -> bool:
    """Whether the command trains, and so needs the cluster."""
    words = plugins_apart(command_line)[1]
    return words[:1] in (["run"], ["resume"], ["reproduce"]) and "--help" not in words


def expected_hosts(bootstrap: Path) -> set[str]:
    """The addresses of head and workers in a cluster's definition; empty when there is no such
    file."""
    import yaml  # comes with Ray

    if not bootstrap.exists():
        return set()
    provider = yaml.safe_load(bootstrap.read_text())["provider"]
    return {provider["head_ip"], *provider.get("worker_ips", [])}


def wait_for(hosts: set[str], seconds: float) -> set[str]:
    """Wait until `hosts` offer lanes. Returns those that still do not after `seconds`."""
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    deadline = time.monotonic() + seconds
    try:
        while True:
            ready = {
                node["NodeManagerAddress"]
                for node in ray.nodes()
                if node["Alive"] and node["Resources"].get("lane")
            }
            if hosts <= ready or time.monotonic() > deadline:
                return hosts - ready
            time.sleep(POLL_SECONDS)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    if drives(sys.argv[1:]):
        absent = wait_for(expected_hosts(BOOTSTRAP.expanduser()), WAIT_SECONDS)
        if absent:
            hint = "Their log is on the head: /tmp/ray/session_latest/logs/monitor.out"
            sys.stderr.write(
                f"Going on without {', '.join(sorted(absent))}, which did not join. {hint}\n"
            )
    main(arguments(sys.argv[1:]))
