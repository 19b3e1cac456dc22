"""What `ray submit docker/cluster.yaml sweeps/submit.py -- run NAME` runs on a cluster's head:
`sweep run NAME` there.

Ray uploads this one file; the package itself came by `ray up`. Hosts join up to half a minute after
`ray up` returns, and a sweep uses those that are there when it begins, so they are waited for.
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweeps.cli import main
from sweeps.cli.options import plugins_apart

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""The cluster's definition, which `ray up` leaves on the head."""
WAIT_SECONDS = 90.0
POLL_SECONDS = 1.0


def arguments(command_line: Sequence[str]) -> list[str]:
    """The command line's arguments; a driver uses the cluster that is already there unless told
    otherwise."""
    if drives(command_line) and not any(a.split("=")[0] == "--address" for a in command_line):
        return [*command_line, "--address", "auto"]
    return list(command_line)


def drives(command_line: Sequence[str]) -> bool:
    """Whether the command trains anything, and so needs the cluster."""
    words = plugins_apart(command_line)[1]
    return words[:1] in (["run"], ["resume"], ["reproduce"]) and "--help" not in words


def expected_hosts(bootstrap: Path) -> set[str]:
    """The addresses of head and workers in a cluster's definition; none when there is no such
    file."""
    import yaml  # comes with Ray

    if not bootstrap.exists():
        return set()
    provider = yaml.safe_load(bootstrap.read_text())["provider"]
    return {provider["head_ip"], *provider.get("worker_ips", [])}


def wait_for(hosts: set[str], seconds: float) -> set[str]:
    """Wait until `hosts` offer lanes; returns those that still do not after `seconds`."""
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    end = time.monotonic() + seconds
    try:
        while True:
            here = {
                n["NodeManagerAddress"]
                for n in ray.nodes()
                if n["Alive"] and n["Resources"].get("lane")
            }
            if hosts <= here or time.monotonic() > end:
                return hosts - here
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
