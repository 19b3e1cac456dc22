"""Fetches data files: resumes, retries, checks, and puts only complete files in their place.

pooch speaks HTTP: proxies, redirects, certificates. The rest is here, because pooch cannot resume a
download, and takes one address and no size for a file (docs/log.md). Received bytes are appended to
`NAME.part` beside the file, which is renamed only when size and SHA-256 are right. So a bad file
never replaces a good one, and an interrupted fetch continues where it stopped.

A file that comes in an archive is unpacked and checked again; the archive is then deleted.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from io import BufferedRandom
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pooch import HTTPDownloader
from requests import HTTPError, Response
from requests.exceptions import ChunkedEncodingError

from zoneout_core.data.archives import unpack
from zoneout_core.data.datafiles import DataFile, FileState, fetch_command, inspect
from zoneout_core.errors import DataError

TRIES = 3
"""Attempts at an address before the next one is tried."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
BLOCK = 1000
"""Bytes that are written at a time; a broken connection loses at most this many."""
TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""The client errors that may pass by themselves, as all server errors may."""

Progress = Callable[[int, int], None]
"""Called with (bytes received, bytes expected) after every block."""


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
    """Download `file` of `task`, even if it is already there; returns its path.

    `source` (a URL or a folder) replaces the file's own addresses; `pause` is in seconds, doubled
    at each retry. Raises `DataError` when no address serves the right file, and leaves what was
    there unchanged.
    """
    location = data_dir / file.path
    if file.archive and not _in_folder(file, source):
        packed = inspect(file.archive, data_dir)
        with _opened(location.with_name(f"{location.name}.part")) as part:
            try:
                if packed.state is not FileState.OK:  # otherwise an earlier unpacking failed
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
        if size := _size(part):
            progress_text = f"{size:,} of {file.bytes:,} bytes"
            failures.append(
                f"  {part.name} keeps {progress_text}; the same command goes on from there."
            )
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
    finding = inspect(file, data_dir)
    if finding.state is FileState.OK:
        return f"the good file at {finding.location} was kept"
    return f"{finding.location} is as it was: {finding.detail}"


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
    """The path of `file` in `source`; None unless that is a folder which has it."""
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
    """Complete `part` from one address, in up to `TRIES` attempts.

    Returns the last failure; empty when size and hash are right.
    """
    failure = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        resumed = _size(part) > 0
        try:
            _download(address, part, file, progress)
        except HTTPError as error:
            answer = _answer(error)
            code = answer.status_code
            failure = f"answered {code} {answer.reason}"
            if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return f"has fewer than {file.bytes:,} bytes"
            if code < HTTPStatus.INTERNAL_SERVER_ERROR and code not in TRANSIENT:
                return failure
        except OSError as error:  # the base of all errors of requests
            failure = f"failed: {_first_cause(error)}"
        else:
            part.seek(0)
            sha256 = hashlib.file_digest(part, "sha256").hexdigest()
            if sha256 == file.sha256:
                return ""
            part.truncate(0)
            failure = f"has the wrong content: SHA-256 {sha256}, expected {file.sha256}"
            if not resumed:  # otherwise an earlier fetch may have left the bad bytes
                return failure
    return failure


def _download(address: str, part: BufferedRandom, file: DataFile, progress: Progress) -> None:
    """Append the missing bytes to `part`. Raises `OSError` when it does not reach the right
    size."""
    size = _size(part)
    if size == file.bytes:
        return
    if size > file.bytes:
        part.truncate(0)
    target = _Target(part, file.bytes, progress)
    if address.startswith("file:"):
        _copy(Path(unquote(urlsplit(address).path)), target)
    else:
        _get(address, target)
    size = _size(part)
    if size < file.bytes:
        raise OSError(f"only {size:,} of {file.bytes:,} bytes came")


class _Target:
    """The partial file, as pooch writes to it. It never gets longer than the complete file."""

    def __init__(self, part: BufferedRandom, expected: int, progress: Progress) -> None:
        self.part = part
        self.expected = expected
        self.progress = progress

    def restart(self) -> None:
        """Drop the bytes received so far."""
        self.part.truncate(0)

    def write(self, block: bytes) -> None:
        """Append a block. Raises `OSError` when the file gets too long."""
        self.part.write(block)
        size = _size(self.part)
        if size > self.expected:
            self.restart()
            raise OSError(f"more than {self.expected:,} bytes came")
        self.progress(size, self.expected)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""


def _copy(source: Path, target: _Target) -> None:
    """Copy a file block by block, from its beginning."""
    target.restart()
    target.progress(0, target.expected)
    with source.open("rb") as stream:
        while block := stream.read(BLOCK):
            target.write(block)


def _get(address: str, target: _Target) -> None:
    """Append what an HTTP server sends, from the end of the partial file if the server can do that.

    Raises `OSError`. A connection that breaks within the body raises nothing and leaves the file
    short.
    """
    size = _size(target.part)
    headers = {"Accept-Encoding": "identity"}
    if size:
        headers["Range"] = f"bytes={size}-"

    def begin(response: Response, **_: object) -> None:
        """Called before the body of a response, or of a redirection, is read."""
        if not response.ok or response.is_redirect:
            return
        if size and not _continues(response, size):
            target.restart()
        target.progress(_size(target.part), target.expected)

    download = HTTPDownloader(
        chunk_size=BLOCK, timeout=TIMEOUT, headers=headers, hooks={"response": begin}
    )
    with suppress(ChunkedEncodingError):
        download(address, target, None)


def _continues(response: Response, offset: int) -> bool:
    """Whether the server sends the file from byte `offset` on; otherwise it sends all of it."""
    content_range = response.headers.get("Content-Range", "")
    partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
    return partial and content_range.startswith(f"bytes {offset}-")


def _answer(error: HTTPError) -> Response:
    assert error.response is not None, "raise_for_status gives the response with the error"
    return error.response


def _first_cause(error: BaseException) -> BaseException:
    """The innermost cause of an error of requests: `[Errno 111] Connection refused`."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _size(part: BufferedRandom) -> int:
    return part.seek(0, os.SEEK_END)
