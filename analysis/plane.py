"""A plane of two hyperparameters: what the trials say of each cell. Pure computation: a table in, numbers out."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoneout_core.errors import SpaceError
from zoneout_core.records import CHARACTERS, TrialState

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

X, Y = "regularizer.z_cells", "regularizer.z_states"
PAPER_PLANE = ("char_ptb", CHARACTERS.objective, X, Y)
"""Task, metric and axes of the one plane of which the paper has a value."""
PAPER_BEST, PAPER_BPC = (0.5, 0.05), 1.362
"""(z_cells, z_states) of the paper's best character model, and its validation bits per character (Table 1)."""
MOST = 16
"""Values along an axis that can still be read."""

Cell = tuple[int, int]
"""(row, column) of a plane."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """What the trials say of each cell. Matrices are [y, x]: a row per value of `y`, both ascending."""

    x_key: str
    y_key: str
    metric: str
    """Lower is better."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    mean: "NDArray[np.float64]"
    """[y, x] Mean of the metric over a cell's complete trials (its seeds); NaN without any."""
    complete: "NDArray[np.int64]"
    """[y, x] How many complete trials the mean is of."""
    pruned: "NDArray[np.int64]"
    """[y, x]"""
    failed: "NDArray[np.int64]"
    """[y, x]"""
    best: Cell | None
    """The lowest mean, the first of equals; None when no trial completed."""
    paper: Cell | None
    """The paper's best cell, where this is the paper's plane and has it."""


def plane(frame: "pd.DataFrame", task: str, metric: str, x_key: str = X, y_key: str = Y) -> Plane:
    """The plane of a task's table of trials (`analysis.load`); `metric` is one of its columns.

    Only complete trials count; pruned and failed ones are counted, interrupted ones only span the axes. Raises
    `SpaceError` when a key was not searched, is not a number, or has too many values for a plane.
    """
    x, y = _axis(frame, x_key), _axis(frame, y_key)
    columns, rows = {value: j for j, value in enumerate(x)}, {value: i for i, value in enumerate(y)}
    shape = (len(y), len(x))
    counts = {state: np.zeros(shape, np.int64) for state in TrialState}
    values: dict[Cell, list[float]] = {}
    for x_value, y_value, state, value in zip(frame[x_key], frame[y_key], frame["state"], frame[metric], strict=True):
        cell = rows[float(y_value)], columns[float(x_value)]
        counts[TrialState(state)][cell] += 1
        if state == TrialState.COMPLETE:
            values.setdefault(cell, []).append(float(value))
    mean = np.full(shape, np.nan)
    for cell, told in values.items():
        mean[cell] = math.fsum(told) / len(told)  # exact sums: the order in which trials ended changes no bit
    return Plane(
        x_key=x_key,
        y_key=y_key,
        metric=metric,
        x=x,
        y=y,
        mean=mean,
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAILED],
        best=_lowest(mean),
        paper=_cell(rows, columns) if (task, metric, x_key, y_key) == PAPER_PLANE else None,
    )


def _axis(frame: "pd.DataFrame", key: str) -> tuple[float, ...]:
    """The distinct values of a key, ascending."""
    another = "Choose another with --set x_axis=KEY or --set y_axis=KEY."
    if key not in frame.columns:
        searched = sorted(name for name in frame.columns if "." in name)
        raise SpaceError(f"An axis of the heatmap must be a searched key, but {key!r} is none of {searched}. {another}")
    try:
        values = tuple(sorted({float(value) for value in frame[key]}))
    except (TypeError, ValueError):
        words = sorted({str(value) for value in frame[key]})
        raise SpaceError(f"An axis of the heatmap must be a number, but {key!r} has {words}. {another}") from None
    if len(values) > MOST or any(np.isnan(values)):
        raise SpaceError(
            f"An axis of the heatmap must be a grid of at most {MOST} values, but {key!r} has {len(values)}. "
            "Look at the table instead: sweep export RUN"
        )
    return values


def _lowest(mean: "NDArray[np.float64]") -> Cell | None:
    if np.isnan(mean).all():
        return None
    row, column = np.unravel_index(np.nanargmin(mean), mean.shape)
    return int(row), int(column)


def _cell(rows: dict[float, int], columns: dict[float, int]) -> Cell | None:
    z_cells, z_states = PAPER_BEST
    return (rows[z_states], columns[z_cells]) if z_cells in columns and z_states in rows else None
