"""Data files: what a task's file must contain, where it lies, and whether it is there."""

import hashlib
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from zoneout_core.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """A file as it must be."""

    path: str
    """Relative to the data folder, with `/`."""
    bytes: int
    sha256: str
    addresses: tuple[str, ...] = ()
    """URLs that serve it, the preferred one first; none where it comes in an archive."""
    archive: "DataFile | None" = None
    """The archive to fetch and unpack instead: a `.gz` of the file, or a `.zip` with a member of
    its name."""

    @property
    def name(self) -> str:
        """The path without its folder."""
        return self.path.rsplit("/", 1)[-1]


class FileState(StrEnum):
    """The state of a data file. Values are printed, and part of `--json`."""

    OK = "ok"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    WRONG_HASH = "wrong hash"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The state of a data file at its place."""

    file: DataFile
    location: Path
    state: FileState
    detail: str
    """The state in words, with the actual numbers: `truncated (10 of 4,000 bytes)`."""


def default_data_dir() -> Path:
    """$ZONEOUT_DATA, or `data/` in the current folder."""
    return Path(os.environ.get("ZONEOUT_DATA") or "data")


def inspect(file: DataFile, data_dir: Path) -> Finding:
    """Compare a file with what it must be. All of it is hashed (about 7 ms for the 6 MB of PTB)."""
    location = data_dir / file.path
    state, detail = _compare(location, file)
    return Finding(file=file, location=location, state=state, detail=detail)


def _compare(location: Path, file: DataFile) -> tuple[FileState, str]:
    try:
        with location.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return FileState.MISSING, "missing"
    except OSError as error:
        return FileState.UNREADABLE, f"unreadable ({error.strerror})"
    if size < file.bytes:
        return FileState.TRUNCATED, f"truncated ({size:,} of {file.bytes:,} bytes)"
    if sha256 != file.sha256:
        return FileState.WRONG_HASH, f"wrong hash ({size:,} bytes, SHA-256 {sha256})"
    return FileState.OK, "ok"


def verify(task: str, files: Iterable[DataFile], data_dir: Path) -> None:
    """Raises `DataError` naming every file of `task` that is not as it must be, and the command
    that fixes it."""
    findings = [inspect(file, data_dir) for file in files]
    bad = [finding for finding in findings if finding.state is not FileState.OK]
    if bad:
        listing = "\n".join(
            f"  {f.location}: {f.detail}; expected {f.file.bytes:,} bytes, SHA-256 {f.file.sha256}"
            for f in bad
        )
        raise DataError(
            f"Task {task} needs its data files whole and unchanged, but found\n{listing}\n"
            f"Fetch them with: {fetch_command(task, data_dir)}"
        )


def fetch_command(task: str, data_dir: Path) -> str:
    """The command that fetches the files of `task`."""
    return f"sweep data fetch {task} --data {shlex.quote(str(data_dir.absolute()))}"
