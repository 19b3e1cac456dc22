"""Fixtures of the tests that need an MLflow store, or a run that is over."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.books.run_folder import RunFolder
from tests.sweeps.driven import begin, drive_inline, tiny
from tests.sweeps.driving import leave_nobody
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import sqlite_store


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    """A driver that a failed test began ends with it."""
    yield
    leave_nobody()


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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Nine real trials, driven to their end, and nothing of them in MLflow; to be looked at
    only."""
    definition = tiny()
    run = begin(tmp_path_factory.mktemp("finished"), definition)
    drive_inline(run, definition)
    return run


@pytest.fixture
def copied(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """The finished run in a home of its own, to be changed."""
    return RunFolder(Path(shutil.copytree(finished.folder, tmp_path / "home" / finished.name)))
