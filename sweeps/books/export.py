"""Tables from a run's journal: one row per trial, or per trial and epoch. Floats are exact in both
formats."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any, Literal

from sweeps.books.story import Story, TrialStory

Format = Literal["csv", "json"]
ExportRow = dict[str, Any]


def rows(story: Story, *, curves: bool = False, times: bool = True) -> list[ExportRow]:
    """One row per trial by number, or with `curves` one per trial and epoch.

    Without `times` only what the definition decides is left: equal sweeps then give equal tables,
    byte for byte.
    """
    trials = [story.trials[number] for number in sorted(story.trials)]
    if curves:
        return [_epoch(trial, epoch, times) for trial in trials for epoch in trial.records]
    return [_trial(trial, times) for trial in trials]


def render(table: list[ExportRow], format: Format) -> str:
    """The table as text; no rows give no text (CSV) or `[]` (JSON).

    A column that only some rows have is empty (CSV) or missing (JSON) in the others.
    """
    if format == "json":
        return json.dumps(table, indent=2, allow_nan=False) + "\n"
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


def _trial(trial: TrialStory, times: bool) -> ExportRow:
    last, best, final = trial.records.get(trial.epoch), trial.best, trial.final or {}
    row = (
        {"trial": trial.trial}
        | trial.params
        | {"seed": trial.seed, "state": str(trial.state), "reason": trial.reason}
    )
    row |= {"epochs": trial.epoch, "updates": last.updates if last else 0}
    row |= {f"last_{name}": last.metrics[name] if last else None for name in trial.metrics.epoch}
    row |= {"best_epoch": best.epoch if best else None}
    row |= {f"best_{name}": final.get(name) for name in trial.metrics.final}
    if best and not final:  # pruned, failed or running: the validation number is known all the same
        row[f"best_{trial.metrics.objective}"] = trial.value(best)
    if times:
        row |= {
            "asked": _utc(trial.asked),
            "started": _utc(trial.started),
            "ended": _utc(trial.ended),
        }
        row |= {"seconds": sum(record.seconds for record in trial.records.values())}
    return row


def _epoch(trial: TrialStory, epoch: int, times: bool) -> ExportRow:
    record = trial.records[epoch]
    row = (
        {"trial": trial.trial}
        | trial.params
        | {"seed": trial.seed, "epoch": epoch, "updates": record.updates}
    )
    row |= record.metrics
    if times:
        row |= {"time": _utc(trial.times[epoch]), "seconds": record.seconds}
    return row


def _utc(seconds: float | None) -> str | None:
    if seconds is not None:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return None
