"""The report of a sweep: its heatmap as picture, as vectors and as numbers. The same table gives the same bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.heatmap import Caption, draw
from analysis.plane import Plane, X, Y, plane

if TYPE_CHECKING:
    import pandas as pd


def write(
    frame: "pd.DataFrame", folder: Path, caption: Caption, metric: str, x_key: str = X, y_key: str = Y
) -> list[Path]:
    """Write heatmap.png, .svg and .csv of a table of trials into `folder`, and return their paths.

    The colour of a cell is the mean of column `metric`.

    Raises `SpaceError` when the keys span no plane.
    """
    from matplotlib import rc_context

    numbers = plane(frame, caption.task, metric, x_key, y_key)
    folder.mkdir(parents=True, exist_ok=True)
    png, svg, csv = (folder / f"heatmap.{kind}" for kind in ("png", "svg", "csv"))
    with rc_context({"svg.hashsalt": "heatmap", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure = draw(numbers, caption)
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
    csv.write_text(table(numbers))
    return [png, svg, csv]


def table(numbers: Plane) -> str:
    """A CSV line per cell: both values, the mean (empty without a complete trial) and the counts; floats are exact."""
    lines = [f"{numbers.x_key},{numbers.y_key},{numbers.metric},complete,pruned,failed"]
    for row, column in np.ndindex(*numbers.mean.shape):
        mean = float(numbers.mean[row, column])
        counts = (int(matrix[row, column]) for matrix in (numbers.complete, numbers.pruned, numbers.failed))
        shown = "" if np.isnan(mean) else repr(mean)
        lines.append(",".join([repr(numbers.x[column]), repr(numbers.y[row]), shown, *map(str, counts)]))
    return "\n".join(lines) + "\n"
