"""Errors that a user can meet. Each message says the rule, the actual value, and what to do next.

ZoneoutError(ValueError)      every error below; the command line prints it without a traceback
├── ConfigError               a field of a definition or configuration breaks its rule
├── UnknownName               a task, space, sweep, sampler ... that does not exist
├── DataError                 a data file is missing, truncated or not the file we expect
├── PluginError               a folder of plug-ins, or a file in it, cannot be used
├── SpaceError                a search space cannot do what was asked (a grid over a range)
├── HomeError                 the folder that holds the runs cannot be used
└── RunError                  a run is unknown, busy, or was made by another definition
    └── CheckpointError       a checkpoint is damaged or could not be written
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ZoneoutError(ValueError):
    """Base of every error that a user can cause and fix."""


class ConfigError(ZoneoutError):
    """A field of a definition or configuration breaks its rule."""


class UnknownName(ZoneoutError):
    """A name that does not exist. The message names the closest match and lists all names.

    Where there are too many names for one line, `listing` is the command that lists them. The
    message then has the closest few names and that command.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], listing: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(set(known))
        self.listing = listing
        if listing:
            close = get_close_matches(name, self.known, n=CLOSEST)
        else:
            close = get_close_matches(name, self.known, n=1, cutoff=0.5)
        message = f"There is no {kind} named {name!r}."
        if close:
            message += f" Did you mean {' or '.join(map(repr, close))}?"
        if listing:
            message += f" List all with: {listing}"
        else:
            message += f" What exists: {', '.join(self.known) or 'none'}."
        super().__init__(message)

    def __reduce__(self) -> tuple[type["UnknownName"], tuple[str, str, list[str], str]]:
        return type(self), (self.kind, self.name, self.known, self.listing)


CLOSEST = 3
"""Names in a message that does not list all of them."""


class DataError(ZoneoutError):
    """A data file is missing or damaged. The message names the file and the command that fixes
    it."""


class PluginError(ZoneoutError):
    """A folder of plug-ins, or a file in it, cannot be used. The message names the file."""


class SpaceError(ZoneoutError):
    """A search space cannot do what was asked of it."""


class HomeError(ZoneoutError):
    """The folder that holds the runs cannot be used."""


class RunError(ZoneoutError):
    """A run is unknown, already driven by another process, or was made by another definition."""


class CheckpointError(RunError):
    """A checkpoint is damaged or could not be written; the one before it is intact."""
