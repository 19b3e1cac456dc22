"""Files that are added to the packages of parts for the length of a test."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zoneout_core import cells, regularizers
from zoneout_core.config import registry

PlugIn = Callable[[str, str, str], Path]
"""Takes a package (`cells` or `regularizers`), a name and the source; returns the file."""


def plugging_in(folder: Path) -> Iterator[PlugIn]:
    """Both packages are searched in one more folder, until the generator goes on."""
    with pytest.MonkeyPatch.context() as patch:
        for package in (cells, regularizers):
            name = package.__name__.rpartition(".")[2]
            (folder / name).mkdir()
            patch.setattr(package, "__path__", [*package.__path__, str(folder / name)])

        def plug_in(package: str, name: str, source: str) -> Path:
            file = folder / package / f"{name}.py"
            file.write_text(source)
            importlib.invalidate_caches()
            registry.forget()
            return file

        yield plug_in
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[module.__name__]
    registry.forget()
