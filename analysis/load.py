"""Trials as one tidy table, from an MLflow store or from the rows of `sweep export`; both give the same table."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoneout_core.errors import RunError
from zoneout_core.records import EPOCH_METRICS, FINAL_METRICS

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
"""One trial as plain data: `trial seed state reason shape_key epoch params final records`, as a sweep exports it."""

COLUMNS = ("trial", "seed", "state", "reason", "shape_key", "epoch", "best_epoch", *FINAL_METRICS)
"""Of the table of trials; after them come the searched hyperparameters, by their dotted keys."""


def from_rows(rows: Iterable[Row]) -> "pd.DataFrame":
    """The table of trials: one row each, by number.

    Columns are `COLUMNS` and the searched hyperparameters. `epoch` is the last one trained. Final metrics (bits per
    character) and `best_epoch` are those of the best parameters, and NaN for trials that did not complete.
    """
    import pandas as pd  # here, so that importing analysis costs nothing

    table = []
    for row in sorted(rows, key=lambda row: int(row["trial"])):
        final = row["final"] or {}
        flat = {key: row[key] if key in row else final.get(key) for key in COLUMNS}
        table.append(flat | {key: _number(value) for key, value in row["params"].items() if key != "seed"})
    frame = pd.DataFrame(table, columns=list(dict.fromkeys([*COLUMNS, *(key for row in table for key in row)])))
    return frame.astype(dict.fromkeys(("best_epoch", *FINAL_METRICS), "float64"))


def curves_from_rows(rows: Iterable[Row]) -> "pd.DataFrame":
    """One row per trial and epoch: `trial epoch` and `EPOCH_METRICS`, in that order."""
    import pandas as pd

    table = [
        {"trial": row["trial"], "epoch": record["epoch"], **{key: record[key] for key in EPOCH_METRICS}}
        for row in sorted(rows, key=lambda row: int(row["trial"]))
        for record in sorted(row["records"], key=lambda record: int(record["epoch"]))
    ]
    return pd.DataFrame(table, columns=["trial", "epoch", *EPOCH_METRICS])


def trials(tracking_uri: str, experiment: str, run: str) -> "pd.DataFrame":
    """The table of trials of one sweep run, from MLflow. Raises `RunError` when MLflow does not have it."""
    return from_rows(rows(tracking_uri, experiment, run, curves=False))


def curves(tracking_uri: str, experiment: str, run: str) -> "pd.DataFrame":
    """One row per trial and epoch of one sweep run, from MLflow. Raises `RunError` when MLflow does not have it."""
    return curves_from_rows(rows(tracking_uri, experiment, run))


def rows(tracking_uri: str, experiment: str, run: str, *, curves: bool = True) -> list[Row]:
    """One `Row` per trial, read back from MLflow; `curves=False` leaves `records` empty and is much faster.

    Raises `RunError` when MLflow has no such experiment or run.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    stored = [] if found is None else _stored(client, found.experiment_id, run)
    if not stored:
        raise RunError(
            f"MLflow must have the run {run!r} in experiment {experiment!r}, but there is no trial of it at "
            f"{tracking_uri}. Bring it there with: sweep deliver {run}"
        )
    return sorted((_row(client, one, curves) for one in stored), key=lambda row: int(row["trial"]))


def _stored(client: Any, experiment_id: str, run: str) -> list[Any]:
    """Every child run of a sweep run."""
    query, found, token = f"tags.`zoneout.run` = '{run}'", [], ""
    while True:
        page = client.search_runs([experiment_id], query, max_results=1000, page_token=token or None)
        found += [one for one in page if "zoneout.trial" in one.data.tags]
        if not (token := page.token):
            return found


def _row(client: Any, stored: Any, curves: bool) -> Row:
    tags, metrics = stored.data.tags, stored.data.metrics
    final = {key: metrics[f"best_{key}"] for key in FINAL_METRICS if f"best_{key}" in metrics}
    if final:
        final["best_epoch"] = metrics["best_epoch"]
    row = {key: tags[f"zoneout.{key}"] for key in ("state", "reason", "shape_key")}
    row |= {key: int(tags[f"zoneout.{key}"]) for key in ("trial", "seed", "epoch")}
    records = _records(client, stored.info.run_id) if curves else []
    return row | {"params": stored.data.params, "final": final or None, "records": records}


def _records(client: Any, run_id: str) -> list[dict[str, float]]:
    epochs: dict[int, dict[str, float]] = {}
    for key in EPOCH_METRICS:
        for point in client.get_metric_history(run_id, key):
            epochs.setdefault(point.step, {"epoch": point.step})[key] = point.value
    return [epochs[epoch] for epoch in sorted(epochs)]


def _number(value: Any) -> Any:
    """MLflow keeps hyperparameters as text; `repr` of a float reads back exactly."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
