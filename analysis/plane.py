"""A plane of two hyperparameters with the results of the trials in its cells, as a pure function of
the table of trials.

Where more keys than the two axes were searched, each combination of the others has a panel. If that
would be too many panels, a single one shows the best over them in each cell.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis import points
from analysis.load import plain
from analysis.points import SEED, Point, Searched
from zoneout_core.errors import SpaceError
from zoneout_core.records import CHARACTERS, TrialState

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

X, Y = "regularizer.zoneout.z_cells", "regularizer.zoneout.z_states"
PAPER_PLANE = ("char_ptb", CHARACTERS.objective, X, Y)
"""Task, metric and axes of the only plane for which the paper published a value."""
PAPER_BEST, PAPER_BPC = (0.5, 0.05), 1.362
"""(z_cells, z_states) of the paper's best character model, and its validation bits per character
(Table 1)."""
MOST = 16
"""How many values along an axis can still be read."""
MOST_PANELS = 12
"""How many panels can still be read."""

PlaneCell = tuple[int, int]
"""(row, column) of a plane."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Rows are values of `y`, columns of `x`, both ascending."""

    x_key: str
    y_key: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def cell(self, params: Mapping[str, object]) -> PlaneCell:
        """Where a point lies."""
        return self.y.index(plain(self.y_key, params[self.y_key])), self.x.index(
            plain(self.x_key, params[self.x_key])
        )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plane."""

    held: Mapping[str, object]
    """The other keys' values, which distinguish it from the other panels."""
    cells: Mapping[PlaneCell, Point]
    """The point of each cell in the space; over several combinations, the best of them."""
    combinations: Mapping[PlaneCell, int]
    """How many combinations of the other keys have a value there: 1, or more where the cell shows
    the best of them."""

    def mean(self, axes: Axes) -> "NDArray[np.float64]":
        """[y, x] Means over seeds; NaN in cells without a complete trial."""
        import numpy as np

        means = np.full((len(axes.y), len(axes.x)), np.nan)
        for cell, point in self.cells.items():
            means[cell] = point.mean
        return means


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The trials' results, by cell."""

    axes: Axes
    metric: str
    """Lower is better."""
    keys: tuple[str, ...]
    """All searched keys but the seed."""
    points: tuple[Point, ...]
    """All points, whatever the panels show."""
    panels: tuple[Panel, ...]
    held: Mapping[str, object]
    """Searched keys that have one value everywhere."""
    over: tuple[str, ...]
    """The other keys, where each cell shows the best over them. Empty where each cell is one point
    and `panels` has them all."""
    best: tuple[int, PlaneCell] | None
    """Panel and cell of the lowest mean, the first of equals; None when no trial completed."""
    paper: PlaneCell | None
    """The paper's best cell, where this is the paper's plane and has it."""
    trials: Mapping[TrialState, int]
    """How many trials are in each state."""
    repeats: int
    """How many trials a sampler drew again with the same seed. They count once."""


def plane(
    frame: "pd.DataFrame",
    task: str,
    metric: str,
    searched: Searched,
    x_key: str = X,
    y_key: str = Y,
) -> Plane:
    """The plane of a task's table of trials (`analysis.load`); `metric` is one of its columns.

    Only complete trials count; the others are counted by their state. Raises `SpaceError` when a
    key was not searched, is not a number, or has too many values for a plane.
    """
    if SEED in (x_key, y_key):
        searched = replace(searched, keys=(*searched.keys, SEED))
    searched_points = points.compute(frame, metric, searched)
    assignments = [*(point.params for point in searched_points), *searched.points]
    axes = Axes(
        x_key=x_key,
        y_key=y_key,
        x=_axis(assignments, searched.keys, x_key),
        y=_axis(assignments, searched.keys, y_key),
    )
    held, varied = _held_and_varied(
        searched_points, [key for key in searched.keys if key not in (x_key, y_key)]
    )
    panels = _panels(searched_points, axes, varied)
    if not searched.points:  # a cell that no trial drew may be in the space all the same
        panels = [_filled(panel, axes) for panel in panels]
    if len(panels) > MOST_PANELS or not searched.has_every_key:
        over = varied
    else:
        over = ()
    if over:
        cells_of_space = {axes.cell(params) for params in searched.points}
        panels = [_best_over(searched_points, axes, cells_of_space)]
    return Plane(
        axes=axes,
        metric=metric,
        keys=searched.keys,
        points=tuple(searched_points),
        panels=tuple(panels),
        held=held,
        over=tuple(over),
        best=_lowest(panels),
        paper=_paper(axes) if (task, metric, x_key, y_key) == PAPER_PLANE else None,
        trials=Counter(TrialState(state) for state in frame["state"]),
        repeats=len(frame)
        - sum(len(point.values) + sum(point.lost.values()) for point in searched_points),
    )


def _held_and_varied(
    searched_points: Iterable[Point], others: Iterable[str]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The keys with the same value in all points, with that value, and the keys that vary."""
    values = {
        key: list(dict.fromkeys(point.params.get(key) for point in searched_points))
        for key in others
    }
    held = {key: settings[0] for key, settings in values.items() if len(settings) == 1}
    return held, tuple(key for key in values if key not in held)


def _panels(searched_points: Iterable[Point], axes: Axes, varied: Sequence[str]) -> list[Panel]:
    """One for each combination of the keys that vary."""
    by_combination: dict[tuple[object, ...], dict[PlaneCell, Point]] = {}
    for point in searched_points:
        by_combination.setdefault(tuple(point.params.get(key) for key in varied), {})[
            axes.cell(point.params)
        ] = point
    return [
        Panel(
            held={
                key: value
                for key, value in zip(varied, combination, strict=True)
                if value is not None
            },
            cells=cells,
            combinations={cell: 1 for cell, point in cells.items() if point.values},
        )
        for combination, cells in by_combination.items()
    ]


def _filled(panel: Panel, axes: Axes) -> Panel:
    every = [(row, column) for row in range(len(axes.y)) for column in range(len(axes.x))]
    return replace(
        panel, cells={cell: panel.cells.get(cell, _nothing(axes, cell, [])) for cell in every}
    )


def _best_over(
    searched_points: Iterable[Point], axes: Axes, cells_of_space: Collection[PlaneCell]
) -> Panel:
    """A single panel over all combinations: the best point of each cell, or the counts of its
    trials without a number."""
    by_cell: dict[PlaneCell, list[Point]] = {cell: [] for cell in cells_of_space}
    for point in searched_points:
        by_cell.setdefault(axes.cell(point.params), []).append(point)
    complete = {cell: [point for point in group if point.values] for cell, group in by_cell.items()}
    cells = {
        cell: (
            min(complete[cell], key=lambda point: point.mean)
            if complete[cell]
            else _nothing(axes, cell, group)
        )
        for cell, group in by_cell.items()
    }
    return Panel(
        held={},
        cells=cells,
        combinations={cell: len(group) for cell, group in complete.items() if group},
    )


def _nothing(axes: Axes, cell: PlaneCell, group: Iterable[Point]) -> Point:
    """The point of a cell that has no value for any combination of the other keys."""
    lost: Counter[TrialState] = Counter()
    for point in group:
        lost.update(point.lost)
    row, column = cell
    return Point(
        params={axes.x_key: axes.x[column], axes.y_key: axes.y[row]},
        values=(),
        lost=lost,
        seeds=sum(lost.values()),
    )


def _axis(
    assignments: Iterable[Mapping[str, object]], keys: Collection[str], key: str
) -> tuple[float, ...]:
    """The distinct values of a key, ascending."""
    advice = "Choose others with: sweep report RUN --x-axis KEY --y-axis KEY"
    if key not in keys:
        raise SpaceError(
            f"An axis of the heatmap must be a searched key, but {key!r} is none of {sorted(keys)}."
            f" {advice}"
        )
    values = {plain(key, params[key]) if key in params else math.nan for params in assignments}
    if any(isinstance(value, str) for value in values):
        words = sorted(str(value) for value in values)
        raise SpaceError(
            f"An axis of the heatmap must be a number, but {key!r} has {words}. {advice}"
        )
    if len(values) > MOST or any(math.isnan(value) for value in values):
        raise SpaceError(
            f"An axis of the heatmap must be a grid of at most {MOST} values, but {key!r} has"
            f" {len(values)}. Look at the table instead: sweep export RUN"
        )
    return tuple(sorted(values))


def _lowest(panels: Iterable[Panel]) -> tuple[int, PlaneCell] | None:
    means = [
        (point.mean, number, cell)
        for number, panel in enumerate(panels)
        for cell, point in panel.cells.items()
        if point.values
    ]
    if not means:
        return None
    return min(means)[1:]


def _paper(axes: Axes) -> PlaneCell | None:
    z_cells, z_states = PAPER_BEST
    if z_cells in axes.x and z_states in axes.y:
        return axes.cell({axes.x_key: z_cells, axes.y_key: z_states})
    return None
