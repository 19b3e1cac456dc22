"""Names are file names: in a package of the project, in a folder of plug-ins, or in an installed
package that declares them as entry points. A module is imported when it is asked for.

To add a task, space or sweep, add a file; its name is registered nowhere else. A name that occurs
twice is an error. A process has one set of plug-ins at a time: that of $ZONEOUT_PLUGINS, unless
`use` names another.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from zoneout_core.config.plugins import Plugins
from zoneout_core.errors import PluginError, UnknownName, ZoneoutError

VARIABLE = "ZONEOUT_PLUGINS"
"""The environment variable that names the folder of the plug-ins."""
KINDS: Mapping[str, str] = {
    "zoneout_core.cells": "cells",
    "zoneout_core.regularizers": "regularizers",
    "zoneout_core.tasks": "tasks",
    "zoneout_core.training.workloads": "workloads",
    "search_spaces": "spaces",
    "sweeps.definitions": "sweeps",
}
"""The packages that plug-ins add to. KIND is the name of their folder, and `zoneout.KIND` the group
of their entry points."""

P = ParamSpec("P")
T = TypeVar("T")


# The plug-ins of this process

_active: Plugins | None = None
_cache_clears: list[Callable[[], None]] = []


def active() -> Plugins:
    """The plug-ins in use: those of $ZONEOUT_PLUGINS, unless `use` named others.

    Raises `PluginError` when that folder cannot be used.
    """
    global _active
    if _active is None:
        _active = from_environment()
    return _active


def from_environment() -> Plugins:
    """The plug-ins of $ZONEOUT_PLUGINS; none where it is unset or empty. Raises `PluginError`."""
    folder = os.environ.get(VARIABLE)
    if folder:
        return Plugins.read(Path(folder))
    return Plugins()


def use(plugins: Plugins | None) -> None:
    """Use these plug-ins from now on, in the whole process. None: those of $ZONEOUT_PLUGINS, read
    when they are needed."""
    global _active
    if plugins is None or plugins != _active:
        forget()
    _active = plugins


def look_again() -> None:
    """Look for installed packages again, after one was installed while this process ran."""
    _entry_points.cache_clear()
    _source_sha256.cache_clear()
    forget()


def forget() -> None:
    """Forget every `cached` result, so that all files are looked at again."""
    for clear in _cache_clears:
        clear()


@contextmanager
def using(plugins: Plugins | None) -> Iterator[None]:
    """Use these plug-ins within a block."""
    previous = _active
    use(plugins)
    try:
        yield
    finally:
        use(previous)


def cached(function: Callable[P, T]) -> Callable[P, T]:
    """`functools.cache` for a function whose result depends on the names that exist: it is cleared
    when the plug-ins change."""
    cached_function = functools.cache(function)
    _cache_clears.append(cached_function.cache_clear)
    # The result has the signature of `function`, but its type does not say so.
    return functools.wraps(function)(cached_function)  # type: ignore[return-value]


# Names


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a name comes from."""

    module: str
    """Its dotted name; empty for a plug-in from a folder."""
    place: str
    """The file, or the entry point, for messages."""
    sha256: str
    """The hash of a plug-in's source; empty for a file of the project."""


def names(package: str) -> list[str]:
    """Public module names of `package` (a dotted name), plug-ins included, sorted, without
    importing any of them."""
    return list(origins(package))


@cached
def origins(package: str) -> Mapping[str, Origin]:
    """Where each name comes from, by name, sorted.

    Folders are listed once, since every trial asks for the names of cells. Raises `PluginError`
    when a name occurs twice.
    """
    known: dict[str, Origin] = {}
    kind = KINDS.get(package, "")
    for name, origin in [*_project(package), *_installed(kind), *_folder(kind)]:
        if name in known:
            raise PluginError(
                f"A name stands for one file, but {name!r} of {kind} is in {known[name].place} and"
                f" in {origin.place}. Rename one of them."
            )
        known[name] = origin
    return dict(sorted(known.items()))


def load(package: str, name: str, kind: str) -> ModuleType:
    """Import module `name` of `package`, or the plug-in of that name.

    Raises `UnknownName` (with the closest match and the whole list) when there is none; `kind` is
    the word for the thing in that message, such as "task". Raises `PluginError` when its file
    cannot be imported.
    """
    known = origins(package)
    if name not in known:
        raise UnknownName(kind, name, known)
    with blaming(f"The file of {kind} {name} cannot be imported"):
        if known[name].module:
            return importlib.import_module(known[name].module)
        return active().load(KINDS[package], name)


def exported(package: str, name: str, kind: str, attribute: str) -> Any:
    """What module `name` of `package` exports as `attribute`. Raises what `load` raises, and
    `PluginError` when it exports none."""
    module = load(package, name, kind)
    if not hasattr(module, attribute):
        raise PluginError(
            f"{module.__file__} is no {kind}: it must define {attribute}, but has none. Write it,"
            " or begin the file's name with an underscore if it is a helper."
        )
    return getattr(module, attribute)


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Raise `PluginError`, with file and line, for whatever the code of a file raises. A
    `ZoneoutError` passes, since it already says what to do."""
    try:
        yield
    except ZoneoutError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what}: {type(error).__name__}: {error} ({_place(error)}). Mend it, or take it away."
        ) from error


def _place(error: BaseException) -> str:
    """File and line where it was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}, line {frame.lineno}"


@cached
def plugged(package: str) -> tuple[str, ...]:
    """The names of `package` that plug-ins bring, sorted."""
    return tuple(name for name, origin in origins(package).items() if origin.sha256)


def digests() -> dict[str, str]:
    """The hash of the source of every plug-in, by `cells/mine`."""
    return {
        f"{kind}/{name}": origins(package)[name].sha256
        for package, kind in KINDS.items()
        for name in plugged(package)
    }


def _project(package: str) -> Iterator[tuple[str, Origin]]:
    for path in importlib.import_module(package).__path__:
        for module in pkgutil.iter_modules([path]):
            if not module.name.startswith("_"):
                place = str(Path(path, f"{module.name}.py"))
                yield module.name, Origin(f"{package}.{module.name}", place, "")


def _folder(kind: str) -> Iterator[tuple[str, Origin]]:
    plugins = active()
    for name in plugins.names(kind):
        yield name, Origin("", plugins.file(kind, name), plugins.digest(kind))


def _installed(kind: str) -> Iterator[tuple[str, Origin]]:
    for point in _entry_points():
        if point.group == f"zoneout.{kind}":
            module = point.module
            place = f"module {module}"
            if point.dist is not None:
                place += f" of {point.dist.name} {point.dist.version}"
            yield point.name, Origin(module, place, _source_sha256(module.partition(".")[0]))


@functools.cache
def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """The entry points of all our groups. Cached: reading every installed package takes a while."""
    points = importlib.metadata.entry_points()
    return [point for kind in KINDS.values() for point in points.select(group=f"zoneout.{kind}")]


@functools.cache
def _source_sha256(package: str) -> str:
    """The hash of the names and bytes of all Python files of a top-level package or module."""
    spec = importlib.util.find_spec(package)
    digest = hashlib.sha256()
    if spec is not None and spec.submodule_search_locations:
        for folder in map(Path, spec.submodule_search_locations):
            for file in sorted(folder.rglob("*.py")):
                digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    elif spec is not None and spec.origin:
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()
