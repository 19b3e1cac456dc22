"""What `sweep reproduce` knows: the paper's tables and figures, a file each, picked up by existing.

A file exports `REPRODUCTION`: which sweeps it is made of, which of their rows, by which protocol
each number is read, and which drawing of `analysis` shows it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.paper import find
from analysis.table import Column, Table, TableRow
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
    """Those of the sweep that are wanted; none = it has no rows, and all of it is wanted."""
    columns: tuple[Column, ...] = ()
    trained_by: str = ""
    """The reproduction that trains these rows, when it is not this one: here they are read where
    they are there."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is there for a block."""

    block: Block
    sweep: Sweep
    """At the scale, and narrowed to what was asked for."""
    table: Table
    trials: "pd.DataFrame"
    """A line per trial: `label seed state reason epoch hardware`, what was searched, and the final
    metrics."""
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
"""Measures on trained rows what records do not hold, with (readings, data folder, say); kept with
the runs."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table or figure of the paper."""

    title: str
    blocks: tuple[Block, ...]
    draw: DrawFigures | None = None
    measure: Measure | None = None
    notes: tuple[str, ...] = ()
    """What a reader has to know of the numbers."""

    @property
    def labels(self) -> list[str]:
        """Of all rows that can be run."""
        return [
            label
            for label in dict.fromkeys(row.label for block in self.blocks for row in block.rows)
            if label
        ]


def names() -> list[str]:
    """As a user types them: `table1`, `text-numbers`."""
    return [name.replace("_", "-") for name in registry.names(__name__)]


def get(name: str) -> Reproduction:
    """Raises `UnknownName` with the closest match."""
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
    """A row; `published` tells `analysis.paper.find` which are the paper's numbers, for columns
    named in `splits`."""
    numbers = {
        column.metric: find(split=column.title.lower(), **published)
        for column in columns
        if published is not None and column.title.lower() in splits
    }
    return TableRow(title=title, label=label, paper=numbers, note=note)
