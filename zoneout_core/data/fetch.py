"""Fetching data files: resumed, retried, checked, and put in their place whole. Standard library
only.

What arrives is appended to `NAME.part` beside the file. Only when size and SHA-256 are right is it
renamed, so a good file is never replaced by a bad one, and an interrupted fetch goes on where it
stopped. A file that comes packed is unpacked and checked again; its archive is then deleted.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from io import BufferedRandom
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from zoneout_core.data.archives import unpack
from zoneout_core.data.datafiles import DataFile, FileState, fetch_command, inspect
from zoneout_core.errors import DataError

TRIES = 3
"""Of every address, before the next one is tried."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
BLOCK = 1 << 16
TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""The client errors that may go away by themselves, as all server errors may."""

Progress = Callable[[int, int], None]
"""Called with (bytes there, bytes expected) after every block."""


def silent(_done: int, _expected: int) -> None:
    """A `Progress` that shows nothing."""


def fetch(
    task: str,
    file: DataFile,
    data_dir: Path,
    *,
    source: str = "",
    progress: Progress = silent,
    pause: float = 1.0,
) -> Path:
    """Download `file` of `task`, even if it is already there; returns where it lies.

    `source` (a URL or a folder) replaces the file's own addresses; `pause` is in seconds, doubled
    at each retry. Raises `DataError`, leaving what was there as it was, when no address serves the
    right file.
    """
    location = data_dir / file.path
    if file.archive and not _in_folder(file, source):
        packed = inspect(file.archive, data_dir)
        with _opened(location.with_name(f"{location.name}.part")) as part:
            try:
                if packed.state is not FileState.OK:  # else an earlier fetch could not unpack it
                    fetch(
                        task, file.archive, data_dir, source=source, progress=progress, pause=pause
                    )
                part.truncate(0)
                unpack(packed.location, part, file)
            except BaseException:
                Path(part.name).unlink()
                raise
            return _in_place(Path(part.name), location)
    addresses = _addresses(file, source)
    failures: list[str] = []
    with _opened(location.with_name(f"{location.name}.part")) as part:
        for address in addresses:
            failure = _from_address(address, part, file, progress, pause)
            if not failure:
                return _in_place(Path(part.name), location)
            failures.append(f"  {address} {failure}")
        if kept := _size(part):
            there = f"{kept:,} of {file.bytes:,} bytes"
            failures.append(f"  {part.name} keeps {there}; the same command goes on from there.")
        else:
            Path(part.name).unlink()
    failures.insert(0, f"{file.path} could not be fetched; {_as_it_was(file, data_dir)}.")
    failures.append(f"Name another address: {fetch_command(task, data_dir)} --from URL_OR_FOLDER")
    raise DataError("\n".join(failures))


def _in_place(part: Path, location: Path) -> Path:
    try:
        return part.replace(location)
    except OSError as error:
        raise DataError(
            f"{part} is whole but must be renamed to {location.name}, which failed"
            f" ({error.strerror}). Move away what is there, and run the same command again."
        ) from error


def _as_it_was(file: DataFile, data_dir: Path) -> str:
    found = inspect(file, data_dir)
    if found.state is FileState.OK:
        return f"the good file at {found.location} was kept"
    return f"{found.location} is as it was: {found.detail}"


def _addresses(file: DataFile, source: str) -> tuple[str, ...]:
    """The URLs to try; a folder's file becomes a `file:` URL."""
    if not source:
        return file.addresses
    if "://" in source:
        return (f"{source.rstrip('/')}/{file.name}",)
    if candidate := _in_folder(file, source):
        return (candidate.resolve().as_uri(),)
    raise DataError(
        f"--from must be a URL or a folder that holds {file.path} or {file.name}, but {source!r}"
        " holds neither."
    )


def _in_folder(file: DataFile, source: str) -> Path | None:
    """Where `file` lies in the folder `source`, if that is a folder and has it."""
    if not source:
        return None
    candidates = (Path(source) / file.path, Path(source) / file.name)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@contextmanager
def _opened(part: Path) -> Iterator[BufferedRandom]:
    """`part` for appending and reading, created if need be and locked against a second fetch of the
    same file."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        stream = part.open("a+b")
    except OSError as error:
        raise DataError(
            f"{part} must be writable, but is not ({error.strerror}). Choose another folder with"
            " --data DIR."
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"{part} is being fetched by another process. Wait for it, or stop it."
            ) from None
        yield stream


def _from_address(
    address: str, part: BufferedRandom, file: DataFile, progress: Progress, pause: float
) -> str:
    """Complete `part` from one address, in up to `TRIES` tries.

    Returns what went wrong last; empty when size and hash are right.
    """
    failure = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        resumed = _size(part) > 0
        try:
            _download(address, part, file, progress)
        except HTTPError as error:
            error.close()
            failure = f"answered {error.code} {error.reason}"
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return f"has fewer than {file.bytes:,} bytes"
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in TRANSIENT:
                return failure
        except (OSError, HTTPException) as error:
            failure = f"failed: {error.reason if isinstance(error, URLError) else error}"
        else:
            part.seek(0)
            found = hashlib.file_digest(part, "sha256").hexdigest()
            if found == file.sha256:
                return ""
            part.truncate(0)
            failure = f"has the wrong content: SHA-256 {found}, expected {file.sha256}"
            if not resumed:  # else the bad bytes may have been there before
                return failure
    return failure


def _download(address: str, part: BufferedRandom, file: DataFile, progress: Progress) -> None:
    """Append what is missing to `part`. Raises `OSError` or `HTTPException` when it does not end at
    the right size."""
    have = _size(part)
    if have == file.bytes:
        return
    if have > file.bytes:
        part.truncate(0)
        have = 0
    with urlopen(
        Request(address, headers={"Range": f"bytes={have}-"} if have else {}), timeout=TIMEOUT
    ) as response:
        if have and not _continues(response, have):
            part.truncate(0)
            have = 0
        progress(have, file.bytes)
        while have <= file.bytes and (block := response.read(BLOCK)):
            part.write(block)
            have += len(block)
            progress(min(have, file.bytes), file.bytes)
    if have > file.bytes:
        part.truncate(0)
        raise OSError(f"more than {file.bytes:,} bytes came")
    if have < file.bytes:
        raise OSError(f"only {have:,} of {file.bytes:,} bytes came")


def _continues(response: HTTPResponse, have: int) -> bool:
    """Whether the server understood the range; if not, it sends the file from its start."""
    start = response.headers.get("Content-Range", "")
    return response.status == HTTPStatus.PARTIAL_CONTENT and start.startswith(f"bytes {have}-")


def _size(part: BufferedRandom) -> int:
    return part.seek(0, os.SEEK_END)
