"""The plug-ins of a run, kept in its folder, so that a resume needs no other copy.

They are code, and a run's folder may be someone else's. So only plug-ins that this user has begun a
run with, or names now, are ever executed. Their hashes are remembered outside all homes.
"""

import os
import shlex
from pathlib import Path

from zoneout_core.config import registry
from zoneout_core.config.plugins import Plugins
from zoneout_core.errors import PluginError, RunError


def write(folder: Path, plugins: Plugins) -> None:
    """Keep plug-ins in a new folder of a run, and remember that this user trusts them. Raises
    `OSError` when the disk refuses."""
    plugins.write(folder)
    _trust(plugins)


def read(folder: Path, sha256: str) -> Plugins:
    """The plug-ins that `write` kept, with this hash.

    Raises `RunError` when they were changed, or this user has never used them.
    """
    try:
        plugins = Plugins.read(folder)
    except PluginError as error:
        raise RunError(f"{_rule(folder)}, but they are gone. Restore the folder. {error}") from None
    if plugins.sha256 != sha256:
        raise RunError(
            f"{_rule(folder)}, but those have SHA-256 {plugins.sha256} now and had {sha256} then."
            " Restore the folder, or begin a new run."
        )
    if _mark(plugins).exists():
        return plugins
    if plugins != registry.active():
        raise RunError(
            f"{_rule(folder)}. That is code, and you have never used it on this machine. Read it,"
            f" and if you trust it add: --plugins {shlex.quote(str(folder))}"
        )
    _trust(plugins)
    return plugins


def _rule(folder: Path) -> str:
    return f"A run uses the plug-ins that it began with, which are kept in {folder}"


def _mark(plugins: Plugins) -> Path:
    """A file that exists if this user trusts these plug-ins."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "zoneout-sweeps" / "plugins" / plugins.sha256


def _trust(plugins: Plugins) -> None:
    mark = _mark(plugins)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark.touch()
    except OSError:  # the user has no home, so a resume will ask for --plugins
        return
