"""Paper and ours, side by side. Pure computation: a table of trials in, lines out; nothing is drawn
or printed here."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.confidence import Estimate, estimate
from analysis.paper import Published
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN = "not run"
PAPER_SCALE = "paper"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric that the paper reports, with the protocol by which it is measured: never one
    protocol for two."""

    title: str
    """The paper's word: `Valid`."""
    metric: str
    """Ours: `valid_chunked_bpc`."""
    protocol: str
    """In words: `chunks of 100, each from the initial state`."""
    digits: int = 3


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A system."""

    title: str
    label: str
    """Of its trials; empty for a system that nobody can run."""
    paper: Mapping[str, Published] = field(default_factory=dict)
    """By our metric; a missing one was not published."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of the paper beside ours."""

    paper: float | None
    source: str
    """Of the paper's number."""
    ours: Estimate | None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        if self.paper is None or self.ours is None:
            return None
        return self.ours.mean - self.paper


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row with its numbers."""

    row: TableRow
    entries: tuple[Entry, ...]
    """One for each column."""
    seeds: tuple[int, ...]
    """Of the complete trials, which are the ones that count."""
    epochs: tuple[int, ...]
    """Trained by each of them."""
    hardware: tuple[str, ...]
    """On which they were trained, each once."""
    state: str
    """`complete`, `not run`, or what became of the trials that did not complete: `1 failed`."""
    reasons: tuple[str, ...]
    """Why they did not, each once."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Lines under columns, at one scale."""

    title: str
    scale: str
    """`paper`, or the name of a smaller one, whose numbers are never shown as the paper's."""
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def ours(self) -> str:
        """What our numbers are headed with."""
        if self.scale == PAPER_SCALE:
            return "ours"
        return f"ours ({self.scale})"

    @property
    def published(self) -> tuple[bool, ...]:
        """For each column, whether the paper has any number of it; others are shown as ours
        alone."""
        return tuple(
            any(line.entries[k].paper is not None for line in self.lines)
            for k in range(len(self.columns))
        )


def compute(
    frame: "pd.DataFrame",
    title: str,
    scale: str,
    columns: Sequence[Column],
    rows: Sequence[TableRow],
) -> Table:
    """The table of these rows.

    `frame` has a line per trial: `label seed state reason epoch hardware` and the columns' metrics,
    NaN where a trial did not complete. Rows without a trial say so; trials that did not complete
    are counted and count for nothing.
    """
    lines = tuple(_line(frame[frame["label"] == row.label], columns, row) for row in rows)
    return Table(title=title, scale=scale, columns=tuple(columns), lines=lines)


def _line(trials: "pd.DataFrame", columns: Sequence[Column], row: TableRow) -> Line:
    done = trials[trials["state"] == TrialState.COMPLETE].sort_values("seed")
    assert done["seed"].is_unique, f"{row.title}: a mean over something else than seeds"
    return Line(
        row=row,
        entries=tuple(_entry(done, column, row) for column in columns),
        seeds=tuple(int(seed) for seed in done["seed"]),
        epochs=tuple(int(epoch) for epoch in done["epoch"]),
        hardware=tuple(sorted(set(done["hardware"]))),
        state=_state(trials),
        reasons=tuple(
            sorted(
                {str(one) for one in trials.loc[trials["state"] != TrialState.COMPLETE, "reason"]}
                - {""}
            )
        ),
    )


def _entry(done: "pd.DataFrame", column: Column, row: TableRow) -> Entry:
    published = row.paper.get(column.metric)
    if column.metric in done.columns:
        values = list(done[column.metric].dropna())
    else:
        values = []
    return Entry(
        paper=published.number if published else None,
        source=published.source if published else "",
        ours=estimate(values),
    )


def _state(trials: "pd.DataFrame") -> str:
    """`complete`, `not run`, or `1 failed, 2 running`."""
    if trials.empty:
        return NOT_RUN
    lost = trials[trials["state"] != TrialState.COMPLETE]
    counts = [
        f"{(lost['state'] == state).sum()} {state}"
        for state in sorted({str(one) for one in lost["state"]})
    ]
    return ", ".join(counts) or str(TrialState.COMPLETE)


def headings(table: Table) -> list[tuple[str, str]]:
    """Of `cells`, each a column's title and what of it is below."""
    found = [("", "system")]
    for column, published in zip(table.columns, table.published, strict=True):
        whats: tuple[str, ...] = (table.ours,)
        if published:
            whats = ("paper", table.ours, "diff")
        found += [(column.title, what) for what in whats]
    return [*found, ("", "seeds"), ("", "epochs")]


def cells(table: Table) -> Iterator[list[str]]:
    """The lines as a person reads them: `1.362`, `1.364 ± 0.002`, `+0.002`."""
    for line in table.lines:
        found = [line.row.title]
        for entry, column, published in zip(
            line.entries, table.columns, table.published, strict=True
        ):
            paper, ours, difference = shown(entry, column, line.state)
            found += [paper, ours, difference] if published else [ours]
        yield [*found, str(len(line.seeds)), spread(line.epochs)]


def shown(entry: Entry, column: Column, state: str) -> tuple[str, str, str]:
    """Paper, ours and difference in words; a number that is not there is `-`, or why it is not
    there."""
    digits = column.digits
    if entry.paper is None:
        paper = "-"
    else:
        paper = f"{entry.paper:.{digits}f}"
    if entry.ours is None:
        return paper, state, ""
    half = entry.ours.half_width
    ours = f"{entry.ours.mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")
    return paper, ours, "" if entry.difference is None else f"{entry.difference:+.{digits}f}"


def spread(numbers: Sequence[int]) -> str:
    """`30`, or `28-30` where they differ."""
    if numbers:
        return "-".join(str(one) for one in sorted({min(numbers), max(numbers)}))
    return ""


def to_json(table: Table) -> dict[str, object]:
    """Plain data with every digit."""
    return {
        "title": table.title,
        "scale": table.scale,
        "columns": [
            {"title": c.title, "metric": c.metric, "protocol": c.protocol} for c in table.columns
        ],
        "rows": [_json_line(table, line) for line in table.lines],
    }


def _json_line(table: Table, line: Line) -> dict[str, object]:
    numbers = {
        column.metric: {
            "paper": entry.paper,
            "source": entry.source,
            "ours": entry.ours.mean if entry.ours else None,
            "values": list(entry.ours.values) if entry.ours else [],
            "interval": list(entry.ours.interval) if entry.ours and entry.ours.interval else None,
            "difference": entry.difference,
        }
        for column, entry in zip(table.columns, line.entries, strict=True)
    }
    told: dict[str, object] = {
        "system": line.row.title,
        "label": line.row.label or None,
        "note": line.row.note,
    }
    told |= {"state": line.state, "reasons": list(line.reasons)}
    ran = {"seeds": list(line.seeds), "epochs": list(line.epochs), "hardware": list(line.hardware)}
    return told | ran | {"numbers": numbers}


CSV_COLUMNS = (
    "system",
    "label",
    "column",
    "metric",
    "protocol",
    "paper",
    "ours",
    "low",
    "high",
    "seeds",
    "difference",
    "scale",
)


def to_csv(table: Table) -> str:
    """A line per system and column; floats are exact, what is not there is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for line in table.lines:
        for column, entry in zip(table.columns, line.entries, strict=True):
            names = (line.row.title, line.row.label, column.title, column.metric, column.protocol)
            writer.writerow([*names, *_csv_numbers(line, entry), table.scale])
    return text.getvalue()


def _csv_numbers(line: Line, entry: Entry) -> list[float | None]:
    """From `paper` to `difference`."""
    mean, low, high = None, None, None
    if entry.ours:
        mean = entry.ours.mean
        low, high = entry.ours.interval or (None, None)
    return [entry.paper, mean, low, high, len(line.seeds), entry.difference]
