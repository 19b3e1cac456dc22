"""The paper's tables and figures that `sweep reproduce` knows: every file of this folder is one.

A file exports `REPRODUCTION`: the sweeps and their rows that it consists of, the protocol by which
each number is read, and the drawing of `analysis` that shows it.
"""

import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.paper import find
from analysis.paper_table import Column, Table, TableRow
from sweeps.definition import Sweep
from zoneout_core.config import registry

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.paper.found_trials import FoundTrial


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of one sweep, and so of one task."""

    title: str
    sweep: str
    """A file of `sweeps.definitions`."""
    rows: tuple[TableRow, ...] = ()
    """The rows of the sweep that are wanted. Empty for a sweep without rows, all of which is
    wanted."""
    columns: tuple[Column, ...] = ()
    trained_by: str = ""
    """The reproduction that trains these rows, if it is another one. This one only reads what is
    there."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a home has for a block."""

    block: Block
    sweep: Sweep
    """At the requested scale, narrowed to the requested rows and seeds."""
    table: Table
    trials: "pd.DataFrame"
    """A line per trial: `label seed state reason epoch hardware`, the searched hyperparameters, and
    the final metrics."""
    curves: "pd.DataFrame"
    """A line per trial and epoch: `label seed epoch` and the metrics."""
    sources: Sequence["FoundTrial"]
    is_paper: bool
    """Whether this is the paper's experiment, at its scale and unchanged."""
    subtitle: str
    """For figures: task, network, seeds, scale."""


DrawFigures = Callable[[Sequence[Reading], Path], list[Path]]
"""Draws into a folder, and returns the files."""
Measure = Callable[[Sequence[Reading], Path, Callable[[str], None]], None]
"""Takes (readings, data folder, say). Measures on trained rows what records do not hold, and keeps
it with the runs."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table or figure of the paper."""

    title: str
    blocks: tuple[Block, ...]
    draw: DrawFigures | None = None
    measure: Measure | None = None
    notes: tuple[str, ...] = ()
    """What a reader has to know about the numbers."""

    @property
    def labels(self) -> list[str]:
        """The labels of all rows that can be run."""
        return [
            label
            for label in dict.fromkeys(row.label for block in self.blocks for row in block.rows)
            if label
        ]


def names() -> list[str]:
    """The names as a user types them: `table1`, `text-numbers`. Imports none of the files.

    Plug-ins add no reproductions, so `--help` can list the names before plug-ins are read.
    """
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return [file.replace("_", "-") for file in files if not file.startswith("_")]


def get(name: str) -> Reproduction:
    """The reproduction `name`. Raises `UnknownName` with the closest match."""
    from zoneout_core.errors import UnknownName

    if name.replace("_", "-") not in names():
        raise UnknownName("reproduction", name, names())
    reproduction: Reproduction = registry.load(
        __name__, name.replace("-", "_"), "reproduction"
    ).REPRODUCTION
    return reproduction


def row(
    label: str,
    title: str,
    columns: Sequence[Column] = (),
    published: Mapping[str, Any] | None = None,
    splits: Collection[str] = ("valid", "test"),
    note: str = "",
) -> TableRow:
    """A row. `published` are the fields by which `analysis.paper.find` finds the paper's number of
    each column in `splits`."""
    numbers = {
        column.metric: find(split=column.title.lower(), **published)
        for column in columns
        if published is not None and column.title.lower() in splits
    }
    return TableRow(title=title, label=label, paper=numbers, note=note)
