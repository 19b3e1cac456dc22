"""The environment of a local Ray: a token that only this user can read, the loopback, and a folder
that is removed with it.

Whoever reaches a Ray's ports can run code in it, unless Ray asks for a token. So each local Ray has
a new token, in a file of mode 0600 inside a folder of mode 0700. Ray's own files, which Ray makes
writable by everyone, are in that folder too.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeps.drivers import compat

PREFIX = "sweep-ray-"
RAYS = "ray"
"""The folder inside it for Ray's files, which Ray opens to everyone."""
LONGEST_FOLDER = 39
"""Characters. Ray appends up to 64 to its folder, and the path of a socket has at most 107 (103 on
macOS)."""
REMOVAL_SECONDS = 5.0
"""How long Ray's last processes may still write into a folder that is being removed."""


@contextmanager
def private_ray() -> Iterator[Path]:
    """While open, a Ray that this process starts is private. Yields the folder for Ray's files.

    Afterwards the user's settings for clusters (`RAY_AUTH_MODE`, `RAY_AUTH_TOKEN`,
    `RAY_AUTH_TOKEN_PATH`) are restored.
    """
    parent = _parent()
    remove_leftovers(parent)
    with _folder(parent) as folder:
        token = folder / "token"
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": None,  # it would take precedence over the file
            "RAY_AUTH_TOKEN_PATH": str(token),
            compat.LOOPBACK_VARIABLE: "0",
        }
        with _environment(settings), compat.on_the_loopback():
            yield folder / RAYS


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of this user's dead processes: a process that was killed cannot do it."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # a link, another user's, removed meanwhile, or in use
            if folder.lstat().st_uid != os.geteuid():
                continue
            lock = _lock(folder, fcntl.LOCK_NB)
            _remove(folder)  # Ray's processes may outlive the driver, and write for a moment
            os.close(lock)


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """A new folder that only this user can enter. It is locked while its process lives, and then
    removed."""
    folder, lock = _new_folder(parent)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _new_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):
            lock = _lock(folder)
            if folder.exists():  # otherwise it was removed as a leftover before it was locked
                return folder, lock
            os.close(lock)


def _lock(folder: Path, flags: int = 0) -> int:
    """Lock a folder until the descriptor is closed, or its process dies.

    Raises `OSError` when it is a link, or with LOCK_NB when another process has locked it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + REMOVAL_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _parent() -> Path:
    """The folder for temporary files; /tmp where its path is too long for a socket."""
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    if len(str(folder / f"{PREFIX}12345678" / RAYS)) <= LONGEST_FOLDER:
        return folder
    return Path("/tmp")


@contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables (None = unset), which Ray's processes inherit, and have the Ray of this process
    read them again."""
    before = {name: os.environ.get(name) for name in settings}
    _set(settings)
    compat.reread_environment()
    try:
        yield
    finally:
        _set(before)
        compat.reread_environment()


def _set(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
