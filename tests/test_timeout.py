"""A test that hangs fails alone, and the run goes on: with the settings of pyproject.toml, but in
seconds."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

WORKERS = ("--numprocesses=2", "--dist=loadfile")
"""As `make test` has them."""
HANGING = {
    "lock": "threading.Event().wait()",
    "child": "subprocess.run(['sleep', '600'])",
    "swallowing": "swallow()",
}
SUITE = """
import ctypes, subprocess, threading

MUTEX = ctypes.create_string_buffer(64)

def swallow():
    while True:
        try:
            threading.Event().wait()
        except Exception:
            pass

def test_before(): pass
def test_hangs(): HANGING
def test_after(): pass
"""
IN_C = "[ctypes.PyDLL(None).pthread_mutex_lock(MUTEX) for _ in 'ab']"
"""Locks itself out in C code and keeps the interpreter's lock: no Python runs, neither a handler nor
a thread."""


def run_suite(
    folder: Path, root: Path, hanging: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """A suite of a file that hangs and a file that does not, under the repository's own conftest."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    (folder / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    (folder / "test_hanging.py").write_text(SUITE.replace("HANGING", hanging))
    (folder / "test_other.py").write_text("def test_other(): pass\n")
    (folder / "pytest.ini").write_text(
        "[pytest]\n"
        f"timeout_method = {settings['timeout_method']}\n"
        f"faulthandler_exit_on_timeout = {settings['faulthandler_exit_on_timeout']}\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *options, "."]
    environment = os.environ | {"CI": "", "PYTEST_ADDOPTS": "", "PYTHONPATH": str(root)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.mark.parametrize(
    ("hanging", "workers"),
    [*((kind, ()) for kind in HANGING), ("lock", WORKERS)],
    ids=[*HANGING, "in a worker"],
)
def test_a_test_that_hangs_fails_alone(
    hanging: str, workers: tuple[str, ...], tmp_path: Path, repo_root: Path
) -> None:
    done = run_suite(tmp_path, repo_root, HANGING[hanging], "--timeout=2", *workers)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "1 failed, 3 passed" in done.stdout
    assert "Timeout (>2.0s) from pytest-timeout" in done.stdout
    assert "FAILED test_hanging.py::test_hangs" in done.stdout


def test_one_that_hangs_inside_c_code_ends_its_worker_only(tmp_path: Path, repo_root: Path) -> None:
    options = ("--timeout=1", "-o", "faulthandler_timeout=5")
    done = run_suite(tmp_path, repo_root, IN_C, *options, *WORKERS)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "1 failed, 3 passed" in done.stdout
    assert "crashed while running 'test_hanging.py::test_hangs'" in done.stdout
    assert "in test_hangs" in done.stderr, "where it hung"


def test_the_last_resort_is_later_than_every_limit(repo_root: Path) -> None:
    settings = tomllib.loads((repo_root / "pyproject.toml").read_text())["tool"]["pytest"]
    options = settings["ini_options"]
    assert options["timeout"] < options["faulthandler_timeout"]
