"""The paper's numbers and ours side by side, as a pure function of the table of trials."""

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
    """A metric that the paper reports, and the protocol that measures it."""

    title: str
    """The paper's name for it: `Valid`."""
    metric: str
    """Our name for it: `valid_chunked_bpc`."""
    protocol: str
    """In words: `chunks of 100, each from the initial state`."""
    digits: int = 3


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A system."""

    title: str
    label: str
    """The label of its trials; empty for a system that cannot be run."""
    paper: Mapping[str, Published] = field(default_factory=dict)
    """The paper's number by our metric; missing where none was published."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of the paper beside ours."""

    paper: float | None
    source: str
    """The source of the paper's number."""
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
    """The seeds of the complete trials, which alone count."""
    epochs: tuple[int, ...]
    """How many epochs each of them trained."""
    hardware: tuple[str, ...]
    """The machines they were trained on, each once."""
    state: str
    """`complete`, `not run`, or the states of the trials that did not complete: `1 failed`."""
    reasons: tuple[str, ...]
    """Why they did not complete, each reason once."""


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
        """The heading of our numbers."""
        if self.scale == PAPER_SCALE:
            return "ours"
        return f"ours ({self.scale})"

    @property
    def published(self) -> tuple[bool, ...]:
        """For each column, whether the paper has a number in it. Other columns show ours alone."""
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
    """Compute the table of these rows.

    `frame` has a line per trial: `label seed state reason epoch hardware` and the columns' metrics,
    NaN where a trial did not complete. A row without trials says so. Trials that did not complete
    are counted, and enter no mean.
    """
    lines = tuple(_line(frame[frame["label"] == row.label], columns, row) for row in rows)
    return Table(title=title, scale=scale, columns=tuple(columns), lines=lines)


def _line(trials: "pd.DataFrame", columns: Sequence[Column], row: TableRow) -> Line:
    complete = trials[trials["state"] == TrialState.COMPLETE].sort_values("seed")
    assert complete["seed"].is_unique, f"{row.title}: a mean over something else than seeds"
    return Line(
        row=row,
        entries=tuple(_entry(complete, column, row) for column in columns),
        seeds=tuple(int(seed) for seed in complete["seed"]),
        epochs=tuple(int(epoch) for epoch in complete["epoch"]),
        hardware=tuple(sorted(set(complete["hardware"]))),
        state=_state(trials),
        reasons=tuple(
            sorted(
                {
                    str(reason)
                    for reason in trials.loc[trials["state"] != TrialState.COMPLETE, "reason"]
                }
                - {""}
            )
        ),
    )


def _entry(complete: "pd.DataFrame", column: Column, row: TableRow) -> Entry:
    published = row.paper.get(column.metric)
    if column.metric in complete.columns:
        values = list(complete[column.metric].dropna())
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
        for state in sorted({str(state) for state in lost["state"]})
    ]
    return ", ".join(counts) or str(TrialState.COMPLETE)


def headings(table: Table) -> list[tuple[str, str]]:
    """The headings of `cells`: the title of each column, and which of its numbers stands below."""
    pairs = [("", "system")]
    for column, published in zip(table.columns, table.published, strict=True):
        words: tuple[str, ...] = (table.ours,)
        if published:
            words = ("paper", table.ours, "diff")
        pairs += [(column.title, word) for word in words]
    return [*pairs, ("", "seeds"), ("", "epochs")]


def cells(table: Table) -> Iterator[list[str]]:
    """The lines as a person reads them: `1.362`, `1.364 ± 0.002`, `+0.002`."""
    for line in table.lines:
        fields = [line.row.title]
        for entry, column, published in zip(
            line.entries, table.columns, table.published, strict=True
        ):
            paper, ours, difference = shown(entry, column, line.state)
            fields += [paper, ours, difference] if published else [ours]
        yield [*fields, str(len(line.seeds)), spread(line.epochs)]


def shown(entry: Entry, column: Column, state: str) -> tuple[str, str, str]:
    """The paper's number, ours and the difference as text. `-` replaces a missing number of the
    paper, and the state one of ours."""
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
        return "-".join(str(number) for number in sorted({min(numbers), max(numbers)}))
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
    names: dict[str, object] = {
        "system": line.row.title,
        "label": line.row.label or None,
        "note": line.row.note,
    }
    names |= {"state": line.state, "reasons": list(line.reasons)}
    trials = {
        "seeds": list(line.seeds),
        "epochs": list(line.epochs),
        "hardware": list(line.hardware),
    }
    return names | trials | {"numbers": numbers}


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
    estimates: list[float | None] = [None, None, None]
    if entry.ours:
        estimates = [entry.ours.mean, *(entry.ours.interval or (None, None))]
    return [entry.paper, *estimates, len(line.seeds), entry.difference]
