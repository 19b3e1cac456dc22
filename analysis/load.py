"""Trials as one tidy table, from an MLflow store or from the rows of `sweep export`; both give the
same table."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from analysis.mlflow_filter import tag_is
from zoneout_core.errors import RunError
from zoneout_core.records import CHARACTERS, Metrics

if TYPE_CHECKING:
    import pandas as pd

TrialRow = Mapping[str, Any]
"""One trial as plain data: `trial seed state reason shape_key epoch params final records`, as a
sweep exports it."""

COLUMNS = ("trial", "seed", "state", "reason", "shape_key", "epoch", "best_epoch")
"""Of the table of trials; after them come the final metrics, and the searched hyperparameters by
their dotted keys."""
TEXTS = ("label",)
"""Hyperparameters that are never numbers, whatever they look like."""


def from_rows(rows: Iterable[TrialRow], metrics: Metrics) -> "pd.DataFrame":
    """The table of trials of a task that reports `metrics`: one row each, by number.

    Columns are `COLUMNS`, `metrics.final` and the searched hyperparameters. `epoch` is the last one
    trained. Final metrics and `best_epoch` are those of the best parameters, and NaN for trials
    that did not complete.
    """
    import pandas as pd  # here, so that importing analysis costs nothing

    columns, table = (*COLUMNS, *metrics.final), []
    for row in sorted(rows, key=lambda row: int(row["trial"])):
        final = row["final"] or {}
        flat = {key: row[key] if key in row else final.get(key) for key in columns}
        table.append(
            flat | {key: plain(key, value) for key, value in row["params"].items() if key != "seed"}
        )
    frame = pd.DataFrame(
        table, columns=list(dict.fromkeys([*columns, *(key for row in table for key in row)]))
    )
    return frame.astype(dict.fromkeys(("best_epoch", *metrics.final), "float64"))


def curves_from_rows(rows: Iterable[TrialRow], metrics: Metrics) -> "pd.DataFrame":
    """One row per trial and epoch: `trial epoch` and `metrics.epoch`, in that order."""
    import pandas as pd

    table = [
        {
            "trial": row["trial"],
            "epoch": record["epoch"],
            **{key: record[key] for key in metrics.epoch},
        }
        for row in sorted(rows, key=lambda row: int(row["trial"]))
        for record in sorted(row["records"], key=lambda record: int(record["epoch"]))
    ]
    return pd.DataFrame(table, columns=["trial", "epoch", *metrics.epoch])


def trials(tracking_uri: str, experiment: str, run: str) -> "pd.DataFrame":
    """The table of trials of one sweep run, from MLflow. Raises `RunError` when MLflow does not
    have it."""
    metrics, rows = stored(tracking_uri, experiment, run, curves=False)
    return from_rows(rows, metrics)


def curves(tracking_uri: str, experiment: str, run: str) -> "pd.DataFrame":
    """One row per trial and epoch of one sweep run, from MLflow. Raises `RunError` when MLflow does
    not have it."""
    metrics, rows = stored(tracking_uri, experiment, run)
    return curves_from_rows(rows, metrics)


def stored(
    tracking_uri: str, experiment: str, run: str, *, curves: bool = True
) -> tuple[Metrics, list[TrialRow]]:
    """What the trials of a run report, and one `TrialRow` for each of them, read back from MLflow
    alone.

    `curves=False` leaves `records` empty and is much faster.

    Raises `RunError` when MLflow has no such experiment or run.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        children = []
    else:
        children = _children(client, found.experiment_id, run)
    if not children:
        raise RunError(
            f"MLflow must have the run {run!r} in experiment {experiment!r}, but there is no trial"
            f" of it at {tracking_uri}."
        )
    metrics = _metrics(children[0])
    return metrics, sorted(
        (_row(client, one, metrics, curves) for one in children), key=lambda row: int(row["trial"])
    )


def _children(client: Any, experiment_id: str, run: str) -> list[Any]:
    """Every child run of a sweep run."""
    query, found, token = tag_is("zoneout.run", run), [], ""
    while True:
        page = client.search_runs(
            [experiment_id], query, max_results=1000, page_token=token or None
        )
        found += [one for one in page if "zoneout.trial" in one.data.tags]
        if not (token := page.token):
            return found


def _metrics(child: Any) -> Metrics:
    """What a child run's tag says; runs from before there was one are of character tasks."""
    told = child.data.tags.get("zoneout.metrics")
    if told:
        return Metrics.from_json(json.loads(told))
    return CHARACTERS


def _row(client: Any, child: Any, metrics: Metrics, curves: bool) -> TrialRow:
    tags, values = child.data.tags, child.data.metrics
    final = {key: values[f"best_{key}"] for key in metrics.final if f"best_{key}" in values}
    if final:
        final["best_epoch"] = values["best_epoch"]
    row = {key: tags[f"zoneout.{key}"] for key in ("state", "reason", "shape_key")}
    row |= {key: int(tags[f"zoneout.{key}"]) for key in ("trial", "seed", "epoch")}
    if curves:
        records = _records(client, child.info.run_id, metrics)
    else:
        records = []
    return row | {"params": child.data.params, "final": final or None, "records": records}


def _records(client: Any, run_id: str, metrics: Metrics) -> list[dict[str, float]]:
    epochs: dict[int, dict[str, float]] = {}
    for key in metrics.epoch:
        for point in client.get_metric_history(run_id, key):
            epochs.setdefault(point.step, {"epoch": point.step})[key] = point.value
    return [epochs[epoch] for epoch in sorted(epochs)]


def plain(key: str, value: Any) -> Any:
    """A hyperparameter as a table has it, whether it comes from a journal or, as text, from MLflow:
    a number or a text.

    `repr` of a float reads back exactly.
    """
    if key in TEXTS:
        return value
    if isinstance(value, bool):  # MLflow has `True`
        return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
