"""Fixtures of the tests that need an MLflow store."""

from pathlib import Path

import pytest

from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import sqlite_store


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the empty store lies that others are copies of."""
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def uri(tmp_path: Path, templates: Path) -> str:
    """An empty SQLite store in `tmp_path/home`."""
    return sqlite_store(tmp_path / "home", templates)


@pytest.fixture
def run(tmp_path: Path) -> RunMaker:
    """A run of short trials, in `tmp_path/home`, with nothing in its journal."""
    return RunMaker(tmp_path / "home" / "run1", epochs=5)
