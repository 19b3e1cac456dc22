"""The metrics, parameters and tags of a run and its trials in MLflow, as pure functions of the
run's files."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import structs

from analysis.trial_row import TrialRow, counts
from sweeps import secrets
from sweeps.books import checksums
from zoneout_core.config import parts
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import Metrics, Placement

MetricPoint = tuple[str, float, float, int]
"""A metric's key, value, Unix time in seconds, and step."""
PREFIX = "zoneout."
"""Prefix of our own tags, such as `zoneout.implementation`."""
PLACEMENT = tuple(field.name for field in structs.fields(Placement))


def trial_points(row: TrialRow) -> Iterator[MetricPoint]:
    """Every number of every epoch, and the final ones, named `best_*`."""
    for record, time in zip(row.records, row.recorded, strict=True):
        for key, value in record.metrics.items():
            yield key, value, time, record.epoch
        for key, value in counts(record).items():
            yield f"epoch_{key}", value, time, record.epoch
        for key, value in (record.final or {}).items():
            if not key.startswith("best_"):
                key = f"best_{key}"
            yield key, value, time, record.epoch


def trial_tags(row: TrialRow) -> dict[str, str]:
    """The facts of the trial, where it was trained, and what its metrics mean."""
    tags = row.facts()
    if row.placement is not None:
        tags |= {name: getattr(row.placement, name) for name in PLACEMENT}
    return {f"{PREFIX}{name}": str(value) for name, value in tags.items()} | metric_tags(
        row.metrics
    )


def metric_tags(metrics: Metrics) -> dict[str, str]:
    """What the metrics of a run mean, which is all that `analysis.load` needs besides them."""
    return {f"{PREFIX}metrics": msgspec.json.encode(metrics).decode()}


def run_params(definition: Path) -> dict[str, str]:
    """The definition as text by dotted key; of the base configuration only the task and the values
    that differ from their defaults."""
    if not definition.is_file():
        return {}
    fields = dict(_flat(checksums.read(definition)))
    defaults = dict(_flat({"base": _defaults(fields.get("base.model.cell", ""))}))
    del defaults["base.task"]
    return {key: secrets.mask(value) for key, value in fields.items() if value != defaults.get(key)}


def _defaults(cell: str) -> dict[str, object]:
    """The default configuration, with the default settings of this cell."""
    defaults: dict[str, object] = TrialConfig().to_json()
    kind = parts.cells().get(cell)
    if kind is not None:
        defaults["cell"] = {name: f.default for name, f in parts.declared(kind).items()}
    return defaults


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every leaf of plain data; a list is one leaf."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value)
