"""The SQLite store of a home, as MLflow needs it: made whole or not at all, and set aside where it
is damaged.

MLflow makes its tables in some fifty steps, seconds long, and can never finish what was killed, or
had no room, between two of them. So a store is made under another name and renamed when it is
complete. One that is damaged all the same is kept under another name; the journals have everything
that was in it.
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
"""A damaged store is left alone until nobody has changed it for so long: another process may be
making its tables."""
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
        """The store of `home` if `uri` says so; any other database is somebody else's."""
        store = cls(home.absolute() / "mlflow.db")
        if uri == store.uri:
            return store
        return None

    @property
    def replaced(self) -> bool:
        """Whether the file is another one than `prepare` left: nothing that was delivered is in
        it."""
        return self._identity is not None and self._identity != self._now()

    def prepare(self, suspicion: str = "") -> str:
        """Make the store where there is none, or a damaged one: then returns what was done, to be
        said.

        `suspicion` is the error of a delivery that may have met a damaged store. Raises `OSError`,
        or what MLflow raises, when it cannot be made.
        """
        if self.replaced:
            compat.forget_store(self.uri)
        with self._alone():
            why = self._settled_damage(suspicion)
            if why:
                kept = self._set_aside()
            else:
                kept = None
            if not self.file.exists():
                self._make()
        self._identity = self._now()
        if kept:
            return (
                f"{self.file} was damaged ({why}). It is kept as {kept.name}, and made anew from"
                " the journals."
            )
        return ""

    def damage(self, suspicion: str = "") -> str:
        """What is wrong with the file, in words; empty when nothing is, or it cannot be looked at
        now."""
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
                    found = database.execute("PRAGMA quick_check(1)").fetchone()
                else:
                    found = ("ok",)
        except sqlite3.OperationalError:  # locked, or a disk that does not answer
            return ""
        except sqlite3.DatabaseError as error:
            return str(error)
        if found != ("ok",):
            return str(found[0]).splitlines()[-1]
        left = [name for name in tables if name.startswith("_alembic_tmp_")]
        if left:
            return f"its table {left[0].removeprefix('_alembic_tmp_')} is half made"
        if (failed := _HALF_MADE.search(suspicion)) and not compat.is_newest_schema(
            self.uri, tables
        ):
            return f"its tables are half made: {failed[0]}"
        return ""

    def is_corrupt(self, suspicion: str) -> bool:
        """Whether an error in the middle of a delivery came of a file that is no database any
        more."""
        return bool(_CORRUPT.search(suspicion) and self.damage(suspicion))

    def _settled_damage(self, suspicion: str) -> str:
        """`damage` of a file that nobody changes."""
        while why := self.damage(suspicion):
            before = self._signature()
            sleep(_SETTLED_SECONDS)
            if self._signature() == before:
                return why
        return ""

    def _set_aside(self) -> Path:
        kept = self.file.with_name(f"{self.file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self.file.rename(kept)
        for suffix in _SIDECARS:
            with suppress(FileNotFoundError):
                Path(f"{self.file}{suffix}").rename(f"{kept}{suffix}")
        compat.forget_store(self.uri)
        return kept

    def _make(self) -> None:
        quiet()
        from mlflow import MlflowClient

        part = self.file.with_name(f"{self.file.name}.part")
        self._clean(part)  # what was killed here left it
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
    def _alone(self) -> Iterator[None]:
        """One process at a time."""
        with self.file.with_name(f"{self.file.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _now(self) -> tuple[int, int] | None:
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _signature(self) -> list[tuple[int, int]]:
        """What differs once somebody has written to it."""
        there = [
            path for suffix in ("", *_SIDECARS) if (path := Path(f"{self.file}{suffix}")).exists()
        ]
        return [(status.st_size, status.st_mtime_ns) for status in (path.stat() for path in there)]
