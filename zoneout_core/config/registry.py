"""Names are file names: a package lists its modules, and one module is imported when it is asked
for.

Adding a task, space or sweep is adding a file; nothing else has to learn its name.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import ParamSpec, TypeVar

from zoneout_core.errors import UnknownName

P = ParamSpec("P")
T = TypeVar("T")


_forgetful: list[Callable[[], None]] = []


def cached(function: Callable[P, T]) -> Callable[P, T]:
    """`functools.cache` for what follows from the names that there are."""
    kept = functools.cache(function)
    _forgetful.append(kept.cache_clear)
    # What it returns has the signature of `function`, which its type does not say.
    return functools.wraps(function)(kept)  # type: ignore[return-value]


def forget() -> None:
    """Look at all files anew."""
    for clear in _forgetful:
        clear()


def names(package: str) -> list[str]:
    """Public module names inside `package` (a dotted name), sorted, without importing any of them.

    The folder is listed once in a process: every trial asks for the names of cells.
    """
    return list(_listed(package))


@cached
def _listed(package: str) -> tuple[str, ...]:
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def load(package: str, name: str, kind: str) -> ModuleType:
    """Import module `name` of `package`.

    Raises `UnknownName` (with the closest match and the whole list) when there is none; `kind` is
    the word for the thing in that message, such as "task".
    """
    known = names(package)
    if name not in known:
        raise UnknownName(kind, name, known)
    return importlib.import_module(f"{package}.{name}")
