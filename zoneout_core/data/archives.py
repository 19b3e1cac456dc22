"""Extraction of a data file from the archive that contains it. Standard library only."""

import gzip
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import IO, cast
from zipfile import ZipFile

from zoneout_core.data.datafiles import DataFile
from zoneout_core.errors import DataError


def unpack(archive: Path, target: BufferedRandom, file: DataFile) -> None:
    """Extract `file` from `archive` to the empty `target`, and delete the archive.

    Raises `DataError` when that fails or gives another file. The archive's own size and hash were
    checked before, so the cause is a full disk or a wrong entry in the task.
    """
    try:
        with _member(archive, file.name) as packed:
            shutil.copyfileobj(packed, target)
        target.flush()
    except OSError as error:
        raise DataError(
            f"{archive} must be unpacked, which failed ({error.strerror or error}). "
            "Make room there, and run the same command again."
        ) from error
    target.seek(0)
    sha256 = hashlib.file_digest(target, "sha256").hexdigest()
    if sha256 != file.sha256:
        raise DataError(
            f"{archive} holds another {file.name}: SHA-256 {sha256}, expected {file.sha256}."
        )
    archive.unlink()


@contextmanager
def _member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a `.gz`, or of the member `name` of a `.zip`."""
    if archive.suffix == ".gz":
        with gzip.open(archive) as stream:
            yield cast("IO[bytes]", stream)
    else:
        with ZipFile(archive) as members, members.open(name) as stream:
            yield stream
