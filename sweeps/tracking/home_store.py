"""MLflow's SQLite store of a home: created completely or not at all, and set aside when damaged.

MLflow creates its tables in some fifty steps that take seconds, and can never finish a store whose
creation was killed, or ran out of disk, between two of them. So a store is created under another
name and renamed when it is complete. A damaged store is kept under another name; the journals have
everything that was in it.
"""

import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Self
from urllib.parse import quote

from sweeps.tracking import compat
from sweeps.tracking.mirror import quiet

_SETTLED_SECONDS = 3.0
"""A damaged store is left alone until nobody has changed it for so long, since another process may
be creating its tables."""
_HALF_MADE = re.compile(r"table \S+ already exists|no such (?:table|column)|duplicate column")
_CORRUPT = re.compile(r"malformed|not a database")
_SIDECARS = ("-journal", "-wal", "-shm")


class HomeStore:
    """`mlflow.db` in a home. Several processes may use it at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.uri = f"sqlite:///{file}"
        self._identity: tuple[int, int] | None = None

    @classmethod
    def at(cls, uri: str, home: Path) -> Self | None:
        """The store of `home`; None if `uri` is another database, which is not ours to mend."""
        store = cls(home.absolute() / "mlflow.db")
        if uri == store.uri:
            return store
        return None

    @property
    def replaced(self) -> bool:
        """Whether the file was replaced since `prepare`, so that nothing delivered is in it."""
        return self._identity is not None and self._identity != self._current_identity()

    def prepare(self, suspicion: str = "") -> str:
        """Create the store where it is missing or damaged. Returns a sentence about a damaged
        store, or an empty text.

        `suspicion` is the error of a delivery that may have met a damaged store. Raises `OSError`,
        or what MLflow raises, when the store cannot be created.
        """
        if self.replaced:
            compat.forget_store(self.uri)
        kept = None
        with self._locked():
            damage = self._settled_damage(suspicion)
            if damage:
                kept = self._set_aside()
            if not self.file.exists():
                self._create()
        self._identity = self._current_identity()
        if kept:
            return (
                f"{self.file} was damaged ({damage}). It is kept as {kept.name}, and made anew from"
                " the journals."
            )
        return ""

    def damage(self, suspicion: str = "") -> str:
        """What is wrong with the file, in words; empty when it is sound, or cannot be read now."""
        if not self.file.exists():
            return ""
        if self.file.stat().st_size == 0:
            return "it is empty"
        try:
            with closing(
                sqlite3.connect(f"file:{quote(str(self.file))}?mode=ro", uri=True, timeout=10)
            ) as database:
                tables = [
                    name
                    for (name,) in database.execute(
                        "SELECT name FROM sqlite_master WHERE type = 'table'"
                    )
                ]
                if _CORRUPT.search(suspicion):
                    verdict = database.execute("PRAGMA quick_check(1)").fetchone()
                else:
                    verdict = ("ok",)
        except sqlite3.OperationalError:  # locked, or a disk that does not answer
            return ""
        except sqlite3.DatabaseError as error:
            return str(error)
        if verdict != ("ok",):
            return str(verdict[0]).splitlines()[-1]
        unfinished = [name for name in tables if name.startswith("_alembic_tmp_")]
        if unfinished:
            return f"its table {unfinished[0].removeprefix('_alembic_tmp_')} is half made"
        complaint = _HALF_MADE.search(suspicion)
        if complaint and not compat.is_newest_schema(self.uri, tables):
            return f"its tables are half made: {complaint[0]}"
        return ""

    def is_corrupt(self, suspicion: str) -> bool:
        """Whether an error during a delivery means that the file is no longer a database."""
        return bool(_CORRUPT.search(suspicion) and self.damage(suspicion))

    def _settled_damage(self, suspicion: str) -> str:
        """The `damage` of a file that nobody is changing."""
        while damage := self.damage(suspicion):
            before = self._signature()
            sleep(_SETTLED_SECONDS)
            if self._signature() == before:
                return damage
        return ""

    def _set_aside(self) -> Path:
        kept = self.file.with_name(f"{self.file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self.file.rename(kept)
        for suffix in _SIDECARS:
            with suppress(FileNotFoundError):
                Path(f"{self.file}{suffix}").rename(f"{kept}{suffix}")
        compat.forget_store(self.uri)
        return kept

    def _create(self) -> None:
        quiet()
        from mlflow import MlflowClient

        part = self.file.with_name(f"{self.file.name}.part")
        self._clean(part)  # left by a process that was killed here
        try:
            MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
            compat.forget_store(f"sqlite:///{part}")
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.rename(self.file)
        except BaseException:
            compat.forget_store(f"sqlite:///{part}")
            self._clean(part)
            raise

    @staticmethod
    def _clean(part: Path) -> None:
        for suffix in ("", *_SIDECARS):
            Path(f"{part}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the store: one process at a time."""
        with self.file.with_name(f"{self.file.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _current_identity(self) -> tuple[int, int] | None:
        """Device and inode of the file."""
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _signature(self) -> list[tuple[int, int]]:
        """Size and time of each of its files, which differ once somebody has written to it."""
        paths = [Path(f"{self.file}{suffix}") for suffix in ("", *_SIDECARS)]
        statuses = [path.stat() for path in paths if path.exists()]
        return [(status.st_size, status.st_mtime_ns) for status in statuses]
