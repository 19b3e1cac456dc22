"""Trials as one tidy table, which is the same from an MLflow store as from the rows of a
journal."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from analysis.mlflow_filter import tag_is
from analysis.trial_row import FACTS, TrialFacts, TrialRow
from zoneout_core.errors import RunError
from zoneout_core.records import EpochRecord, Metrics

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

COLUMNS = (*FACTS, "best_epoch")
"""The first columns of the table of trials. The final metrics follow, and then the searched
hyperparameters by their dotted keys."""
TEXTS = ("label",)
"""Hyperparameters that are never numbers, even if they look like numbers."""


def from_rows(rows: Iterable[TrialRow], metrics: Metrics) -> "pd.DataFrame":
    """The table of trials of a task that reports `metrics`: one row each, by number.

    Columns are `COLUMNS`, `metrics.final` and the searched hyperparameters. `epoch` is the last one
    trained. Final metrics and `best_epoch` are those of the best parameters, and NaN for trials
    that did not complete.
    """
    import pandas as pd  # here, so that importing analysis costs nothing

    columns = (*COLUMNS, *metrics.final)
    lines = []
    for row in sorted(rows, key=lambda row: row.trial):
        cells = row.cells()
        searched = {key: plain(key, value) for key, value in row.params.items() if key != "seed"}
        lines.append({key: cells.get(key) for key in columns} | searched)
    frame = pd.DataFrame(lines, columns=list(dict.fromkeys([*columns, *_keys(lines)])))
    frame["state"] = frame["state"].map(str)
    return frame.astype(dict.fromkeys(("best_epoch", *metrics.final), "float64"))


def curves_from_rows(rows: Iterable[TrialRow], metrics: Metrics) -> "pd.DataFrame":
    """One row per trial and epoch: `trial epoch` and `metrics.epoch`, in that order."""
    import pandas as pd

    lines = [
        cells for row in sorted(rows, key=lambda row: row.trial) for cells in row.epoch_cells()
    ]
    return pd.DataFrame(lines, columns=["trial", "epoch", *metrics.epoch])


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
    """The metrics that the trials of a run report, and a `TrialRow` for each trial, read from
    MLflow alone.

    Rows have facts, hyperparameters and metrics. `curves=False` leaves `records` empty and is much
    faster. Raises `RunError` when MLflow has no such experiment or run.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    children: list[Run] = []
    stored_experiment = client.get_experiment_by_name(experiment)
    if stored_experiment is not None:
        children = _children(client, stored_experiment.experiment_id, run)
    if not children:
        raise RunError(
            f"MLflow must have the run {run!r} in experiment {experiment!r}, but there is no trial"
            f" of it at {tracking_uri}."
        )
    metrics = _metrics(children[0])
    rows = [_row(client, child, metrics, curves) for child in children]
    return metrics, sorted(rows, key=lambda row: row.trial)


def _children(client: "MlflowClient", experiment_id: str, run: str) -> list["Run"]:
    """Every child run of a sweep run."""
    query = tag_is("zoneout.run", run)
    children: list[Run] = []
    token = ""
    while True:
        page = client.search_runs(
            [experiment_id], query, max_results=1000, page_token=token or None
        )
        children += [child for child in page if "zoneout.trial" in child.data.tags]
        if not (token := page.token):
            return children


def _metrics(child: "Run") -> Metrics:
    """The metrics in a child run's tag."""
    return msgspec.json.decode(child.data.tags["zoneout.metrics"], type=Metrics)


def _row(client: "MlflowClient", child: "Run", metrics: Metrics, curves: bool) -> TrialRow:
    tags, values = child.data.tags, child.data.metrics
    stored = {name: tags[f"zoneout.{name}"] for name in FACTS}
    facts = msgspec.convert(stored, TrialFacts, strict=False)
    final = {key: values[f"best_{key}"] for key in metrics.final if f"best_{key}" in values}
    if final:
        final["best_epoch"] = values["best_epoch"]
    records: tuple[EpochRecord, ...] = ()
    if curves:
        records = _records(client, child.info.run_id, facts.trial, metrics)
    return TrialRow(
        **structs.asdict(facts),
        params=dict(child.data.params),
        metrics=metrics,
        final=final or None,
        records=records,
    )


def _records(
    client: "MlflowClient", run_id: str, trial: int, metrics: Metrics
) -> tuple[EpochRecord, ...]:
    epochs: dict[int, dict[str, float]] = {}
    updates: dict[int, int] = {}
    for key in metrics.epoch:
        for point in client.get_metric_history(run_id, key):
            epochs.setdefault(point.step, {})[key] = point.value
    for point in client.get_metric_history(run_id, "epoch_updates"):
        updates[point.step] = int(point.value)
    return tuple(
        EpochRecord(trial=trial, epoch=epoch, updates=updates[epoch], metrics=epochs[epoch])
        for epoch in sorted(epochs)
    )


def _keys(lines: list[dict[str, object]]) -> Iterator[str]:
    for line in lines:
        yield from line


def plain(key: str, value: Any) -> Any:
    """A hyperparameter as a number or a text, whether it comes from a journal or, as text, from
    MLflow.

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
