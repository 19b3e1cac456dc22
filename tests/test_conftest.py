"""The rule that a missing program is said loudly, and is a failure in CI."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import conftest

SUITE = """
import pytest

@pytest.mark.needs_chromium
def test_browser(): raise AssertionError("ran without a browser")

def test_needs_nothing(): pass
"""
LINE = (
    "needs_chromium: 1 tests need chromium, chromedriver. "
    "To run them: apt-get install --no-install-recommends chromium chromium-driver"
)


def run_suite(
    folder: Path, root: Path, *, programs: tuple[str, ...], ci: str
) -> subprocess.CompletedProcess[str]:
    """Run a suite of two tests under the repository's own conftest, with only `programs` in
    PATH."""
    (folder / "bin").mkdir()
    for program in programs:
        (folder / "bin" / program).write_text("#!/bin/false\n")
        (folder / "bin" / program).chmod(0o755)
    (folder / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = needs_chromium: a browser\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "."]
    environment = os.environ | {"CI": ci, "PATH": str(folder / "bin")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("ci", ["", "false"])
def test_a_missing_program_is_said_loudly(tmp_path: Path, repo_root: Path, ci: str) -> None:
    done = run_suite(tmp_path, repo_root, programs=(), ci=ci)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 deselected" in done.stdout
    assert "!! NOT RUN: something is missing on this machine !!" in done.stdout
    assert LINE in done.stdout


def test_a_missing_program_fails_ci(tmp_path: Path, repo_root: Path) -> None:
    done = run_suite(tmp_path, repo_root, programs=(), ci="true")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "with CI=true nothing may be missing." in done.stderr
    assert LINE in done.stderr
    assert "passed" not in done.stdout


def test_what_is_there_runs(tmp_path: Path, repo_root: Path) -> None:
    done = run_suite(tmp_path, repo_root, programs=("chromium", "chromedriver"), ci="true")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "ran without a browser" in done.stdout
    assert "NOT RUN" not in done.stdout


def markers(root: Path) -> list[str]:
    """The names of all needs, by pyproject.toml."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    names = [line.partition(":")[0] for line in settings["markers"]]
    return [name for name in names if name.startswith("needs_")]


def test_every_need_says_what_is_missing_and_how_to_get_it(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_names: None)
    monkeypatch.setattr(conftest, "DATA", tmp_path)
    needs = {need.marker: need for need in conftest.needs()}
    assert sorted(needs) == sorted(markers(repo_root))
    for need in needs.values():
        assert need.missing
        assert need.remedy.startswith(("apt-get install ", ".venv/bin/sweep data fetch "))


def test_ci_installs_what_every_need_names(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_names: None)
    script = (repo_root / ".ci" / "run").read_text()
    installed = set(re.findall(r"\[[\w+]+\]=([\w+-]+)", script))
    for need in conftest.needs():
        if need.remedy.startswith("apt-get"):
            named = set(need.remedy.split("--no-install-recommends ")[1].split())
            assert named <= installed, need.marker
