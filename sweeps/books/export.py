"""Tables from a run's journal: one row per trial, or per trial and epoch. Floats are exact in both
formats."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from analysis.trial_row import COUNTS, Cells, TrialRow, counts
from sweeps.books import trial_rows
from sweeps.books.story import Story
from zoneout_core.formats import FORMATS

Format = Literal["csv", "json"]
_TIMED = ("seconds",)
"""Counts that depend on the machine."""
_NAMES = {"epoch": "epochs"}
"""Columns whose name differs from that of the fact."""


def rows(story: Story, *, curves: bool = False, times: bool = True) -> list[Cells]:
    """One row per trial by number, or with `curves` one per trial and epoch.

    Without `times` there is only what the definition decides, so that equal sweeps give equal
    tables, byte for byte.
    """
    trials = trial_rows.rows(story)
    if curves:
        return [line for trial in trials for line in _epochs(trial, times)]
    return [_trial(trial, times) for trial in trials]


def render(table: list[Cells], format: Format) -> str:
    """The table as text. JSON also has the number of the format; a CSV without rows is empty.

    A column that only some rows have is empty (CSV) or missing (JSON) in the others.
    """
    if format == "json":
        content = {"format": FORMATS["export"], "rows": table}
        return json.dumps(content, indent=2, allow_nan=False) + "\n"
    if not table:
        return ""
    columns = list(dict.fromkeys(column for row in table for column in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: "" if value is None else value for key, value in row.items()} for row in table
    )
    return out.getvalue()


def _trial(row: TrialRow, times: bool) -> Cells:
    facts = {_NAMES.get(name, name): value for name, value in row.facts().items()}
    del facts["shape_key"]
    cells = {"trial": row.trial} | row.params | facts
    totals: Cells = dict.fromkeys(COUNTS, 0)
    measured: Cells = dict.fromkeys(row.metrics.epoch)
    if row.last is not None:
        totals |= counts(row.last)
        measured |= row.last.metrics
    cells |= {name: value for name, value in totals.items() if name not in _TIMED}
    cells |= {f"last_{name}": value for name, value in measured.items()}
    cells["best_epoch"] = row.best.epoch if row.best else None
    final = row.final or {}
    for name in row.metrics.final:
        cells[f"best_{name}"] = final.get(name)
    if not final:  # pruned, failed or running: the objective is known nevertheless
        cells[f"best_{row.metrics.objective}"] = row.best_value
    if times:
        cells |= {name: _utc(getattr(row, name)) for name in ("asked", "started", "ended")}
        cells["seconds"] = row.seconds
    return cells


def _epochs(row: TrialRow, times: bool) -> Iterator[Cells]:
    for record, recorded in zip(row.records, row.recorded, strict=True):
        untimed = counts(record)
        timed = {"time": _utc(recorded)} | {name: untimed.pop(name) for name in _TIMED}
        cells = {"trial": row.trial} | row.params | {"seed": row.seed, "epoch": record.epoch}
        cells |= untimed | record.metrics
        if times:
            cells |= timed
        yield cells


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
