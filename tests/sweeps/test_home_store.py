"""A home's MLflow store is there whole or not at all; a damaged one is set aside, and the journals
have what was in it."""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sweeps.books.run_folder import Home, RunFolder
from sweeps.tracking.delivery import Delivery, Tracking
from sweeps.tracking.home_store import HomeStore
from tests.sweeps.commands import sweep
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import EXPERIMENT, sqlite_store, stored
from tests.sweeps.test_faults import small_disk

MAKER = """
import sys, time
from pathlib import Path
import mlflow.tracking, mlflow.store.tracking.sqlalchemy_store
from sweeps.tracking.home_store import HomeStore
print("ready", flush=True)
sys.stdin.readline()
HomeStore(Path(sys.argv[1])).prepare()
print("made", flush=True)
"""


def tell(run: RunMaker) -> None:
    run.driver()
    run.complete(0)
    run.closed()


def delivered(run: RunMaker, said: list[str]) -> set[str]:
    """The keys in the home's own store after a delivery of the run."""
    uri = Tracking.local(run.folder.parent, EXPERIMENT).uri
    assert Delivery(run.folder, uri, EXPERIMENT, warn=said.append).deliver(90) == 0, said
    return set(stored(uri))


def half_made(file: Path) -> None:
    """As MLflow leaves it when it is killed while it makes a table anew."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE _alembic_tmp_tags (key TEXT)")
        database.commit()


def middle_of_a_migration(file: Path) -> None:
    """A table of a later version is there, and the version is an earlier one."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TABLE entity_associations")
        database.execute("UPDATE alembic_version SET version_num = '0584bdc529eb'")
        database.commit()


def malformed(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as database:
        database.seek(4096)
        database.write(b"\\xff" * (size - 8192))


def not_a_database(file: Path) -> None:
    file.write_bytes(b"these bytes are no database at all. " * 200)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [half_made, middle_of_a_migration, malformed, not_a_database, empty]
)
def test_a_damaged_store_is_set_aside_and_the_run_is_delivered_all_the_same(
    run: RunMaker, uri: str, damage: object
) -> None:
    tell(run)
    home = run.folder.parent
    assert callable(damage)
    damage(home / "mlflow.db")
    said: list[str] = []
    assert delivered(run, said) == {"run1", "run1/00000"}
    (kept,) = home.glob("mlflow.db.damaged-*")
    told = [
        text
        for text in said
        if f"It is kept as {kept.name}, and made anew from the journals." in text
    ]
    assert told[0].endswith(
        f"Bring the other runs of this home back with: sweep deliver --all --home {home}"
    )


def test_all_runs_of_a_home_come_back(tmp_path: Path, templates: Path) -> None:
    home = tmp_path / "home"
    sqlite_store(home, templates)
    for name in ("run1", "run2", "run3"):
        tell(RunMaker(home / name, epochs=2))
        Tracking.local(home, EXPERIMENT).save(RunFolder(home / name))
    half_made(home / "mlflow.db")
    done = sweep("deliver", "--all", "--home", home)
    assert done.code == 0, done
    assert done.out.splitlines() == [
        f"run{n}: everything is in sqlite:///{home}/mlflow.db" for n in (1, 2, 3)
    ]
    assert {key.partition("/")[0] for key in stored(f"sqlite:///{home}/mlflow.db")} == {
        "run1",
        "run2",
        "run3",
    }


@pytest.mark.parametrize(("arguments", "got"), [(("latest", "--all"), "both"), ((), "neither")])
def test_one_run_or_all_of_them(tmp_path: Path, arguments: tuple[str, ...], got: str) -> None:
    done = sweep("deliver", *arguments, "--home", tmp_path)
    assert done.code == 2
    assert done.err == (
        f"error: sweep deliver takes one RUN, or --all, but got {got}. "
        f"For example: sweep deliver latest --home {tmp_path}\n"
    )


def test_a_healthy_store_is_left_alone_whatever_the_suspicion(
    tmp_path: Path, templates: Path
) -> None:
    store = HomeStore(Path(sqlite_store(tmp_path, templates).removeprefix("sqlite:///")))
    before = store.file.stat()
    for suspicion in (
        "",
        "(sqlite3.OperationalError) database is locked",
        "RESOURCE_ALREADY_EXISTS: Experiment(name=demo) already exists.",
        "(sqlite3.OperationalError) table tags already exists",
        "(sqlite3.OperationalError) no such table: experiments",
        "database disk image is malformed",
        "unable to open database file",
        "database or disk is full",
    ):
        assert store.prepare(suspicion) == ""
    assert (store.file.stat().st_ino, store.file.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_a_locked_store_is_left_alone(tmp_path: Path, templates: Path) -> None:
    store = HomeStore(Path(sqlite_store(tmp_path, templates).removeprefix("sqlite:///")))
    with closing(sqlite3.connect(store.file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert store.damage("database disk image is malformed") == ""


def test_what_somebody_is_still_changing_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-made table of a process that makes tables now."""
    store, turns = HomeStore(tmp_path / "mlflow.db"), iter(range(3))
    half_made(store.file)

    def meanwhile(seconds: float) -> None:
        with closing(sqlite3.connect(store.file)) as other:
            last = next(turns) == 2
            other.execute(
                "DROP TABLE _alembic_tmp_tags"
                if last
                else f"CREATE TABLE t{time.monotonic_ns()} (a)"
            )
            other.commit()

    monkeypatch.setattr("sweeps.tracking.home_store.sleep", meanwhile)
    assert store._settled_damage("") == ""


def test_only_a_homes_own_store_is_ever_touched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert HomeStore.at(f"sqlite:///{home}/mlflow.db", home) is not None
    for uri in (
        f"sqlite:///{tmp_path}/mlflow.db",
        "http://127.0.0.1:5000",
        "postgresql+psycopg://u@h/mlflow",
    ):
        assert HomeStore.at(uri, home) is None


@pytest.fixture
def maker() -> Iterator[list["subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def begin_maker(
    file: Path, root: Path, processes: list["subprocess.Popen[str]"]
) -> "subprocess.Popen[str]":
    """A process that makes the store as soon as it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    processes.append(process)
    return process


def test_kill_9_at_any_moment_of_a_homes_first_seconds_leaves_nothing_or_a_whole_store(
    tmp_path: Path, repo_root: Path, maker: list["subprocess.Popen[str]"], run: RunMaker
) -> None:
    tell(run)
    home = run.folder.parent
    file, killed = home / "mlflow.db", 0
    for part in (0.02, 0.3, 0.6, 0.9):
        file.unlink(missing_ok=True)
        process = begin_maker(file, repo_root, maker)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        unfinished = home / "mlflow.db.part"
        until = (
            time.monotonic() + 60
        )  # at a part of the size that a whole store has, so at a part of its steps
        while process.poll() is None and time.monotonic() < until:
            with suppress(FileNotFoundError):  # it is complete, and has its name
                if unfinished.stat().st_size >= part * 700_000:
                    break
        process.kill()
        process.wait()
        killed += not file.exists()
        assert HomeStore(file).damage() == ""
    assert killed >= 3, "they must be killed at work, not afterwards"
    assert delivered(run, []) == {"run1", "run1/00000"}
    assert not unfinished.exists()


def test_several_processes_make_one_store(
    tmp_path: Path, repo_root: Path, maker: list["subprocess.Popen[str]"]
) -> None:
    for _ in range(2):
        begin_maker(tmp_path / "mlflow.db", repo_root, maker)
    for process in maker:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(200) for process in maker] == [0, 0]
    assert HomeStore(tmp_path / "mlflow.db").damage() == ""
    assert sorted(path.name for path in tmp_path.glob("mlflow.db*")) == [
        "mlflow.db",
        "mlflow.db.lock",
    ]


@pytest.mark.needs_mount
@pytest.mark.parametrize("size", ["620k", "700k"])
def test_a_disk_that_is_full_while_the_tables_are_made_costs_nothing_once_there_is_room(
    tmp_path: Path, size: str
) -> None:
    with small_disk(tmp_path / "disk", size):
        run = RunMaker(tmp_path / "disk" / "home" / "run1", epochs=2)
        tell(run)
        uri = Tracking.local(run.folder.parent, EXPERIMENT).uri
        said: list[str] = []
        assert Delivery(run.folder, uri, EXPERIMENT, warn=said.append).deliver(60) > 0
        assert "full" in said[0]
        subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path / "disk")], check=True)
        assert delivered(run, []) == {"run1", "run1/00000"}
        shutil.rmtree(run.folder.parent)


def test_a_store_that_was_replaced_meanwhile_gets_all_of_a_run_again(
    run: RunMaker, uri: str, templates: Path
) -> None:
    live = Delivery(run.folder, uri, EXPERIMENT, poll_seconds=0.02)
    live.start()
    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    until = time.monotonic() + 60
    while live._mirror is None or live.undelivered:
        assert time.monotonic() < until
        time.sleep(0.05)
    file = run.folder.parent / "mlflow.db"
    file.rename(file.with_name("away.db"))
    sqlite_store(run.folder.parent, templates)
    run.closed()
    assert live.drain(60) == 0
    assert set(stored(uri)) == {"run1", "run1/00000"}
    assert Home(run.folder.parent).command("ls") == f"sweep ls --home {run.folder.parent}"
