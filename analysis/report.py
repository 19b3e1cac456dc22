"""The report of a sweep: its heatmap as PNG, SVG and CSV. Equal tables give equal bytes."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import style
from analysis.caption import Caption
from analysis.heatmap import draw
from analysis.plane import Plane, X, Y, plane
from analysis.points import Point, Searched
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    import pandas as pd

STATES = (TrialState.PRUNED, TrialState.FAILED, TrialState.INTERRUPTED)
"""The states of seeds without a value, as the table counts them."""


def write(
    frame: "pd.DataFrame",
    folder: Path,
    caption: Caption,
    metric: str,
    searched: Searched,
    x_key: str = X,
    y_key: str = Y,
) -> list[Path]:
    """Write heatmap.png, .svg and .csv of a table of trials into `folder`, and return their paths.

    The colour of a cell is the mean of column `metric` over seeds. Raises `SpaceError` when the
    keys span no plane.
    """
    numbers = plane(frame, caption.task, metric, searched, x_key, y_key)
    files = style.save(lambda: draw(numbers, caption), folder, "heatmap")
    table_file = folder / "heatmap.csv"
    table_file.write_text(table(numbers))
    return [*files, table_file]


def table(numbers: Plane) -> str:
    """A CSV line per point: every searched key, the mean over seeds (empty if none completed), and
    the counts.

    Points come by panel, then by y and x; floats are exact, and a key that does not apply is empty.
    `seeds` counts the seeds of the definition, `complete` those in the mean.
    """
    axes = numbers.axes
    keys = [
        axes.x_key,
        axes.y_key,
        *(key for key in numbers.keys if key not in (axes.x_key, axes.y_key)),
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, numbers.metric, "complete", *STATES, "seeds"])
    for point in _in_order(numbers, keys[2:]):
        lost = [point.lost.get(state, 0) for state in STATES]
        mean = point.mean if point.values else ""
        writer.writerow(
            [
                *(point.params.get(key, "") for key in keys),
                mean,
                len(point.values),
                *lost,
                point.seeds,
            ]
        )
    return out.getvalue()


def _in_order(numbers: Plane, others: list[str]) -> list[Point]:
    combinations = list(
        dict.fromkeys(tuple(point.params.get(key) for key in others) for point in numbers.points)
    )
    place = {combination: number for number, combination in enumerate(combinations)}

    def order(point: Point) -> tuple[int, int, int]:
        return place[tuple(point.params.get(key) for key in others)], *numbers.axes.cell(
            point.params
        )

    return sorted(numbers.points, key=order)
