"""What MLflow is told of a run and of a trial: metrics, parameters and tags. Pure functions of the
run's files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps import secrets
from sweeps.books import sealed
from sweeps.books.story import TrialStory
from zoneout_core.config import parts
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import Metrics

MetricPoint = tuple[str, float, float, int]
"""A metric's key, value, Unix time in seconds, and step."""


def trial_points(trial: TrialStory) -> Iterator[MetricPoint]:
    """Every metric of every epoch, and the final ones, named `best_*`."""
    for epoch, record in trial.records.items():
        when = trial.times[epoch]
        for key, value in (*record.metrics.items(), ("epoch_seconds", record.seconds)):
            yield key, value, when, epoch
        for key, value in (record.final or {}).items():
            yield (key if key.startswith("best_") else f"best_{key}"), float(value), when, epoch


def trial_tags(trial: TrialStory) -> dict[str, str]:
    """How the trial stands, where it was trained, and what its metrics are."""
    tags = {
        "state": str(trial.state),
        "reason": trial.reason,
        "seed": str(trial.seed),
        "shape_key": trial.shape_key,
        "trial": str(trial.trial),
        "epoch": str(trial.epoch),
    }
    if (placement := trial.placement) is not None:
        tags |= {
            "implementation": placement.implementation,
            "implementation_reason": placement.reason,
            "device": placement.device,
            "host": placement.host,
            "threads": str(placement.threads),
            "lanes": str(placement.lanes),
        }
    return {f"zoneout.{name}": value for name, value in tags.items()} | metric_tags(trial.metrics)


def metric_tags(metrics: Metrics) -> dict[str, str]:
    """What the metrics of a run mean: all that `analysis.load` needs besides them."""
    return {"zoneout.metrics": json.dumps(metrics.to_json())}


def run_params(definition: Path) -> dict[str, str]:
    """The definition as text by dotted key; of the base configuration only the task and what is not
    the default."""
    if not definition.is_file():
        return {}
    told = sealed.read(definition)
    defaults = dict(_flat({"base": _defaults(told["base"].get("model", {}).get("cell", ""))}))
    del defaults["base.task"]
    return {key: secrets.mask(value) for key, value in _flat(told) if value != defaults.get(key)}


def _defaults(cell: str) -> dict[str, Any]:
    """The default configuration, with the default settings of this cell."""
    defaults = TrialConfig().to_json()
    kind = parts.cells().get(cell)
    if kind is not None:
        defaults["cell"] = {name: f.default for name, f in parts.declared(kind).items()}
    return defaults


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every leaf of plain data; a list is one leaf."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value)
