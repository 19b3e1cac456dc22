"""Rows of the paper's tables and curves: named systems on one task, at one of several scales.

A row is a system: its own values on top of the task's configuration, under the `label` by which
tables and figures find its trials. Scale `paper` is the paper's full setting. On two cores `small`
takes minutes and `smoke` seconds a row; their numbers are never shown as the paper's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from search_spaces import Choice, Product, Switch
from sweeps.definition import Sweep
from zoneout_core.config import registry
from zoneout_core.errors import UnknownName

PAPER = "paper"
Values = Mapping[str, object]
"""Values by unambiguous field name of a `TrialConfig`."""
Rows = Mapping[str, Values]
"""Values of each row, by label."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The values that differ from the paper's."""

    values: Values = field(default_factory=dict)
    """Values of every trial, which replace those of the base and of the rows."""
    rows: Rows = field(default_factory=dict)
    """Values of single rows, for sizes that only they have."""


Scales = Mapping[str, Scale]
"""The `SCALES` of a definition, by name."""


def get(name: str, scale: str) -> Sweep:
    """Definition `name` at a scale. Raises `UnknownName` for either."""
    module = registry.load("sweeps.definitions", name, "sweep")
    known = getattr(module, "SCALES", {PAPER: Scale()})
    if scale not in known:
        raise UnknownName(f"scale of {name}", scale, known)
    sweep: Sweep = module.sweep(scale) if hasattr(module, "SCALES") else module.sweep()
    return sweep


def at_scale(sweep: Sweep, scale: Scale, rows: Rows | None = None) -> Sweep:
    """`sweep` with the values of a scale, over `rows` if given."""
    if rows is not None:
        sweep = replace(
            sweep, space=space({label: _sized(label, row, scale) for label, row in rows.items()})
        )
    if not scale.values:
        return sweep
    # Small models train side by side, with one thread each.
    return replace(sweep, base=sweep.base.with_values(scale.values), threads=1, lanes=8)


def _sized(label: str, row: Values, scale: Scale) -> Values:
    kept = {key: value for key, value in row.items() if key not in scale.values}
    return kept | dict(scale.rows.get(label, {}))


def space(rows: Rows) -> Switch:
    """A conditional choice of the label: each row is one point, with its own values."""
    cases = {
        label: Product(tuple(Choice(key, (value,)) for key, value in row.items()))
        for label, row in rows.items()
    }
    return Switch("label", tuple(cases.items()))


def labels(sweep: Sweep) -> list[str]:
    """The labels of a sweep's rows; empty for a sweep without rows."""
    match sweep.space:
        case Switch(key="label", cases=cases):
            return [str(label) for label, _ in cases]
    return []


def merged(first: Sweep, second: Sweep) -> Sweep:
    """One sweep over the rows of both, which are the same definition narrowed in two ways."""
    if labels(first) == labels(second):
        return first
    match first.space, second.space:
        case Switch(cases=cases), Switch(cases=others):
            union = dict((*cases, *others))
            return replace(first, space=Switch("label", tuple(union.items())))
    raise AssertionError(f"{first.name} has no rows")


def narrowed(sweep: Sweep, kept: Collection[str]) -> Sweep:
    """The same sweep over some of its rows only; a sweep without rows stays as it is."""
    match sweep.space:
        case Switch(key="label", cases=cases):
            return replace(
                sweep, space=Switch("label", tuple(case for case in cases if case[0] in kept))
            )
    return sweep
