"""sweeps/submit.py, without a cluster."""

from pathlib import Path

import pytest

from sweeps import submit


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (["run", "demo"], ["run", "demo", "--address", "auto"]),
        (["resume", "latest"], ["resume", "latest", "--address", "auto"]),
        (["reproduce", "table1"], ["reproduce", "table1", "--address", "auto"]),
        (["run", "demo", "--address", "head:6379"], ["run", "demo", "--address", "head:6379"]),
        (["run", "demo", "--address=head:6379"], ["run", "demo", "--address=head:6379"]),
        (
            ["--plugins", "DIR", "run", "mine"],
            ["--plugins", "DIR", "run", "mine", "--address", "auto"],
        ),
        (["run", "--help"], ["run", "--help"]),
        (["status", "latest"], ["status", "latest"]),
        ([], []),
    ],
)
def test_a_driver_uses_the_cluster_that_is_there(given: list[str], used: list[str]) -> None:
    assert submit.arguments(given) == used


def test_the_hosts_that_are_waited_for(tmp_path: Path) -> None:
    bootstrap = tmp_path / "ray_bootstrap_config.yaml"
    assert submit.expected_hosts(bootstrap) == set()
    bootstrap.write_text(
        "provider: {type: local, head_ip: 192.0.2.10, worker_ips: [192.0.2.11, 192.0.2.12]}"
    )
    assert submit.expected_hosts(bootstrap) == {"192.0.2.10", "192.0.2.11", "192.0.2.12"}
