"""Plug-ins: a user's own cells, regularizers, tasks, workloads, spaces and sweeps, in a folder.

    DIR/cells/NAME.py         exports PART, a `zoneout_core.cells.Cell`
    DIR/regularizers/NAME.py  exports PART, a `zoneout_core.regularizers.Regularizer`
    DIR/tasks/NAME.py         exports TASK, a `zoneout_core.tasks.Task`
    DIR/workloads/NAME.py     exports WORKLOAD, a `zoneout_core.training.workloads.Workload`
    DIR/spaces/NAME.py        has `space()`
    DIR/sweeps/NAME.py        has `sweep()`

The files are read once, into a `Plugins` value. These same bytes are imported, hashed, kept with a
run and sent to other nodes, so a node needs no folder and a later edit changes nothing. A file may
import another one by a relative import: `from ..tasks import _shared`.
"""

import hashlib
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import decode_source, spec_from_loader
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from zoneout_core.errors import PluginError

DECISIVE = ("cells", "regularizers", "tasks", "workloads")
"""Folders whose files decide a trial's numbers; a space or a sweep only chooses among trials."""
FOLDERS = (*DECISIVE, "spaces", "sweeps")
"""The folders that are read; anything else in the folder of the plug-ins is ignored."""
_PREFIX = "zoneout_plugins_"


@dataclass(frozen=True)
class Plugins:
    """The files of a folder of plug-ins. Two values are equal when all their files are."""

    sources: tuple[tuple[str, bytes], ...] = ()
    """(`cells/mine.py`, its bytes), sorted."""
    folder: str = field(default="", compare=False)
    """Where they were read from, for messages and tracebacks."""

    @classmethod
    def read(cls, folder: Path) -> "Plugins":
        """The plug-ins in `folder`. Raises `PluginError` when it has none or cannot be read."""
        folder = folder.expanduser().absolute()
        if not folder.is_dir():
            raise PluginError(
                f"--plugins (or $ZONEOUT_PLUGINS) must be a folder, but {folder} is none. {_LAYOUT}"
            )
        files = [file for name in FOLDERS for file in sorted((folder / name).glob("*.py"))]
        if not files:
            raise PluginError(
                f"A folder of plug-ins has at least one file, but {folder} has none. {_LAYOUT}"
            )
        try:
            sources = [(f"{file.parent.name}/{file.name}", file.read_bytes()) for file in files]
        except OSError as error:
            raise PluginError(
                f"Plug-ins must be readable, but {error.filename}: {error.strerror}."
                " Change its permissions."
            ) from error
        return cls(tuple(sorted(sources)), str(folder))

    def write(self, folder: Path) -> None:
        """Write the files to a new folder, for `read`. Raises `OSError`."""
        for name, source in self.sources:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source)

    def __bool__(self) -> bool:
        return bool(self.sources)

    def names(self, kind: str) -> list[str]:
        """The names in one of `FOLDERS`, sorted. A file that begins with `_` is a helper."""
        paths = [PurePosixPath(name) for name, _ in self.sources]
        return [p.stem for p in paths if p.parent.name == kind and not p.name.startswith("_")]

    def file(self, kind: str, name: str) -> str:
        """The path that a file was read from."""
        return str(Path(self.folder, kind, f"{name}.py"))

    def load(self, kind: str, name: str) -> ModuleType:
        """Import a file. Raises whatever the file raises."""
        if self.package not in _READ:
            _READ[self.package] = self
        if _FINDER not in sys.meta_path:
            sys.meta_path.append(_FINDER)
        return import_module(f"{self.package}.{kind}.{name}")

    @property
    def package(self) -> str:
        """The package whose modules are the files. Other files make another package."""
        return _PREFIX + self.sha256[:16]

    @cached_property
    def sha256(self) -> str:
        """The hash of all names and bytes."""
        return _digest(self.sources)

    @cached_property
    def decisive_sha256(self) -> str:
        """The hash of the files that decide numbers; empty where there are none."""
        files = [(name, source) for name, source in self.sources if _kind(name) in DECISIVE]
        if files:
            return _digest(files)
        return ""

    def digest(self, kind: str) -> str:
        """The hash that identifies a file of this kind. A cell's does not change when a sweep is
        edited."""
        if kind in DECISIVE:
            return self.decisive_sha256
        return self.sha256


_LAYOUT = (
    f"It has the folders {', '.join(FOLDERS[:-1])} or {FOLDERS[-1]}, with a file NAME.py for each"
    " plug-in; see docs/plugins.md."
)


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _digest(files: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, source in files:
        digest.update(f"{name}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()


class _Finder(MetaPathFinder, ExecutionLoader):
    """Imports plug-ins from the bytes that were read."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module of a package of plug-ins; None for all others."""
        plugins, *inner_names = self._place(fullname)
        if plugins is None or len(inner_names) > 2:
            return None
        is_package = len(inner_names) < 2
        if is_package:
            known: Collection[str] = ("", *FOLDERS)
        else:
            known = [name.removesuffix(".py") for name, _ in plugins.sources]
        if "/".join(inner_names) not in known:
            return None
        spec = spec_from_loader(
            fullname, self, origin=self.get_filename(fullname), is_package=is_package
        )
        if spec is not None:
            spec.has_location = True  # modules then have `__file__`
        return spec

    def is_package(self, fullname: str) -> bool:
        return fullname.count(".") < 2

    def get_filename(self, fullname: str) -> str:
        plugins, *inner_names = self._place(fullname)
        assert plugins is not None
        path = Path(plugins.folder, *inner_names)
        if self.is_package(fullname):
            return str(path)
        return f"{path}.py"

    def get_source(self, fullname: str) -> str:
        plugins, *inner_names = self._place(fullname)
        assert plugins is not None
        if self.is_package(fullname):
            return ""
        return decode_source(dict(plugins.sources)[f"{'/'.join(inner_names)}.py"])

    @staticmethod
    def _place(fullname: str) -> tuple[Any, ...]:
        """The plug-ins that a module belongs to, its folder, and its name; the last two may be
        missing."""
        package, *inner_names = fullname.split(".")
        return _READ.get(package), *inner_names


_FINDER = _Finder()
_READ: dict[str, Plugins] = {}
"""By package. A process may read several runs in turn, each with its own plug-ins."""
