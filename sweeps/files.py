"""Reading files by names that someone else may have written: below a folder, never through a
link."""

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from zoneout_core.errors import RunError


class Content(NamedTuple):
    """The bytes of a file, and when it was last changed (Unix seconds)."""

    data: bytes
    changed: float


def is_inside(name: object) -> bool:
    """Whether `name` is a relative path that stays inside a folder: no `..`, no empty part, no
    character that our own file names never have."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def read_inside(folder: Path, name: str, most_bytes: int) -> Content:
    """Read the regular file `name` below `folder`.

    Raises `FileNotFoundError` when it is missing, and `RunError` when it is not a regular file,
    lies behind a link, or has more than `most_bytes`.
    """
    if not is_inside(name):
        raise RunError(f"A file of {folder} has a name inside it, but this one is {name!r}.")
    *folders, last = name.split("/")
    try:
        within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in folders:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
                os.close(within)
                within = inner
            # Non-blocking, since opening a named pipe would wait for its writer.
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
        finally:
            os.close(within)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(
            f"A file of a run lies in its folder, and not behind a link, but {folder / name}:"
            f" {error.strerror}."
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RunError(f"A file of a run is a regular file, but {folder / name} is not.")
        if status.st_size > most_bytes:
            raise RunError(
                f"A file of a run that is sent has at most {most_bytes:,} bytes, but"
                f" {folder / name} has {status.st_size:,}."
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return Content(file.read(most_bytes), status.st_mtime)
    finally:
        os.close(descriptor)


def refuse_links(
    folder: Path, unsearched: Collection[str] = (), links: tuple[str, ...] = ()
) -> None:
    """Raises `RunError` when anything in `folder` is neither a regular file nor a folder: a link, a
    pipe, a device.

    Following a link would write wherever its maker wanted. unsearched: names of folders to skip.
    links: prefixes of the names that may be links, because nobody follows them.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in unsearched:
                    refuse_links(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False) and not (
                links and entry.name.startswith(links)
            ):
                _refuse(Path(entry.path))


def _refuse(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.lstat()  # it may be gone by now
        if path.is_symlink():
            fault = f"is a link to {path.readlink()}"
        else:
            fault = "is a pipe, a socket or a device"
        raise RunError(
            f"Everything in a run's folder is a file or a folder, but {path} {fault}. "
            "Someone else may have made it: remove it, or put there what it should be."
        )
