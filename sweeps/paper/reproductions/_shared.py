"""Columns and drawings that several tables and figures have in common."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.paper_table import Column, TableRow
from sweeps.paper.found_trials import wanted
from sweeps.paper.reproductions import Reading, row

if TYPE_CHECKING:
    from analysis.curves import CurvePanel

CHARACTERS = (
    Column(
        title="Valid",
        metric="valid_chunked_bpc",
        protocol="bits per character of chunks of 100, each from the initial state",
    ),
    Column(
        title="Test",
        metric="test_stream_bpc",
        protocol="bits per character of one pass over the whole text, the state carried",
    ),
)
"""The paper's two columns are two protocols (spec section 2.5)."""
STREAMED = (
    Column(
        title="Valid",
        metric="valid_stream_bpc",
        protocol="bits per character of one pass over the whole text, the state carried",
    ),
    CHARACTERS[1],
)
"""The columns of systems below the line."""
CLASSES = (
    Column(
        title="Valid",
        metric="valid_error",
        protocol="error rate on 10,000 images, masks as expected",
    ),
    Column(
        title="Test",
        metric="test_error",
        protocol="error rate on 10,000 images, of the parameters best on valid",
    ),
)


def table1(
    task: str, label: str, title: str, regularizer: str, note: str = "", **rest: Any
) -> TableRow:
    """A row of Table 1 on a character task; `rest` is passed to `row`."""
    published = {"task": task, "regularizer": regularizer, "source": "Table 1"}
    return row(label, title, CHARACTERS, published, note=note, **rest)


def six(task: str, dropout: str) -> tuple[TableRow, ...]:
    """The paper's six systems; `dropout` is the strength of recurrent dropout."""
    return (
        table1(task, "unregularized", "Unregularized LSTM", "none"),
        table1(task, "weight-noise", "Weight noise 0.075", "weight_noise"),
        table1(task, "norm-stabilizer", "Norm stabilizer 50", "norm_stabilizer"),
        table1(task, "stochastic-depth", "Stochastic depth 0.05", "stochastic_depth"),
        table1(task, "recurrent-dropout", f"Recurrent dropout {dropout}", "recurrent_dropout"),
        table1(task, "zoneout", "Zoneout 0.5 / 0.05", "zoneout"),
    )


def panel(
    reading: Reading,
    title: str,
    y_label: str,
    epochs: int,
    metrics: Mapping[str, str],
    y_limits: tuple[float, float] | None = None,
) -> "CurvePanel":
    """The learning curves of a block's rows. metrics: {word: metric}; `epochs` and `y_limits` are
    the paper's axes.

    Stars are the paper's values of the last metric. An experiment that is not the paper's has axes
    of its own and no stars, since it would fill only a corner of the paper's axes.
    """
    from analysis import curves
    from analysis.curves import CurvePanel

    systems = {row.label: row.title for row in reading.block.rows}
    *_, marked = metrics.values()
    if not reading.is_paper:
        epochs = max(config.epochs for config in wanted(reading.sweep))
    published = {
        row.title: row.paper[marked].number for row in reading.block.rows if marked in row.paper
    }
    return CurvePanel(
        title=title,
        subtitle=reading.subtitle,
        y_label=y_label,
        epochs=epochs,
        curves=tuple(curves.compute(reading.curves, systems, metrics, epochs)),
        y_limits=y_limits,
        published=published if reading.is_paper else {},
    )
