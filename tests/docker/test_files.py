"""The deployment files: the linters see the mistakes we could make, and the files agree with each
other."""

import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

PACKAGES = {"analysis", "search_spaces", "sweeps", "zoneout_core"}


def lint(program: str, *arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of a linter that is installed beside this Python."""
    command = [Path(sys.executable).with_name(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def docker(repo_root: Path) -> Path:
    return repo_root / "docker"


@pytest.fixture
def compose(docker: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((docker / "compose.yaml").read_text())
    return loaded


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("    restart: unless-stopped\n", "    restart: unless-stopped\n", ""),
        (
            "    restart: unless-stopped\n",
            "    restrat: unless-stopped\n",
            "'restrat' was unexpected",
        ),
        ("      retries: 6\n", "      retries: [six]\n", "['six'] is not of type"),
        ("condition: service_healthy", "condition: service_well", "'service_well' is not one of"),
    ],
)
def test_the_compose_schema_finds_mistakes(
    docker: Path, tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    text = (docker / "compose.yaml").read_text()
    assert right in text
    changed = tmp_path / "compose.yaml"
    changed.write_text(text.replace(right, wrong, 1))
    code, output = lint(
        "check-jsonschema", "--verbose", "--builtin-schema", "vendor.compose-spec", changed
    )
    assert code == (1 if said else 0), output
    assert said in output


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("USER 1000\n", "USER 1000\n", ""),
        ("USER 1000\n", "USER root\n", "DL3002"),
        ("FROM python:3.11-slim AS system", "FROM python AS system", "DL3006"),
        ("--no-install-recommends git", "git", "DL3015"),
    ],
)
def test_hadolint_finds_mistakes(
    docker: Path, tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    text = (docker / "Dockerfile").read_text()
    assert right in text
    changed = tmp_path / "Dockerfile"
    changed.write_text(text.replace(right, wrong))
    code, output = lint("hadolint", "--no-color", changed)
    assert code == (1 if said else 0), output
    assert said in output


def test_yaml_is_well_formed(docker: Path, tmp_path: Path) -> None:
    rules = docker / ".yamllint"
    assert lint("yamllint", "--strict", "-c", rules, docker) == (0, "")
    twice = tmp_path / "cluster.yaml"
    twice.write_text((docker / "cluster.yaml").read_text() + "auth: {}\n")
    code, output = lint("yamllint", "--strict", "-c", rules, twice)
    assert code == 1
    assert 'duplication of key "auth"' in output


def test_ports_are_published_on_the_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports), ports


def test_every_service_says_how_it_feels_and_comes_back(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_every_secret_of_the_services_is_made_once_in_a_file_of_its_owners_alone(
    docker: Path, tmp_path: Path
) -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (docker / "compose.yaml").read_text()))
    script = Path(shutil.copy(docker / "secrets.sh", tmp_path))

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *arguments], capture_output=True, text=True, timeout=10, umask=0
        )

    made = make()
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    file = tmp_path / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = dict(line.split("=") for line in file.read_text().splitlines())
    assert secrets.keys() == asked
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    before = file.read_text()
    again = make()
    assert again.returncode == 1
    assert again.stderr.startswith(
        f"{file} is there already. New secrets would not open what the old ones closed"
    )
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert make(str(tmp_path / "link")).returncode == 1
    assert file.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "link", "secrets.sh"]


def test_every_host_and_container_gets_the_whole_package(docker: Path, repo_root: Path) -> None:
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (docker / "Dockerfile").read_text(), flags=re.M
    )
    in_image = {name for line in copied for name in line.split()}
    ignore = (docker / "Dockerfile.dockerignore").read_text().splitlines()
    mounts = yaml.safe_load((docker / "cluster.yaml").read_text())["file_mounts"].values()
    on_hosts = {path.removeprefix("./") for path in mounts if path.startswith("./")}
    wanted = PACKAGES | {"pyproject.toml", "constraints.txt", "LICENSE"}
    assert in_image == on_hosts == {line[1:] for line in ignore if line.startswith("!")} == wanted
    assert all((repo_root / name).exists() for name in wanted)


def last_stages(dockerfile: str, targets: Iterable[str]) -> dict[str, str]:
    """The text of each named stage."""
    stages = re.split(r"^FROM \S+ AS ", dockerfile, flags=re.M)[1:]
    named = {stage.split(maxsplit=1)[0]: stage for stage in stages}
    return {target: named[target] for target in targets}


def test_the_two_images_differ_in_their_compiler_only(docker: Path) -> None:
    stages = last_stages((docker / "Dockerfile").read_text(), ["cpu", "cuda"])
    ends = {target: stage[stage.index("COPY analysis") :] for target, stage in stages.items()}
    assert ends["cpu"].strip() == ends["cuda"].strip()
    assert "USER 1000" in ends["cpu"]
    assert "gcc" in stages["cuda"]
    assert "gcc" not in stages["cpu"]
