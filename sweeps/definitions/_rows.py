"""What the paper's tables and curves have in common: named systems on one task, at one of several
scales.

A system is a row: values of its own on top of the task's configuration, under the `label` by which
tables and figures know its trials. Scale `paper` is the whole setting; `small` takes minutes and
`smoke` seconds a row on two cores, and their numbers are never shown as the paper's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces import Choice, Product, Switch
from sweeps.definition import Sweep
from zoneout_core.config import registry
from zoneout_core.errors import UnknownName

PAPER = "paper"
Values = Mapping[str, Any]
"""By unambiguous field name of a `TrialConfig`."""
Rows = Mapping[str, Values]
"""By label."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is not as in the paper."""

    values: Values = field(default_factory=dict)
    """Of every trial; they take the place of the base's and of the rows' own."""
    rows: Rows = field(default_factory=dict)
    """Of single rows: sizes that only they have."""


Scales = Mapping[str, Scale]
"""By name: what a definition calls its `SCALES`."""


def get(name: str, scale: str) -> Sweep:
    """Definition `name` at a scale. Raises `UnknownName`, also for a scale that it does not
    have."""
    module = registry.load("sweeps.definitions", name, "sweep")
    known = getattr(module, "SCALES", {PAPER: Scale()})
    if scale not in known:
        raise UnknownName(f"scale of {name}", scale, known)
    sweep: Sweep = module.sweep(scale) if hasattr(module, "SCALES") else module.sweep()
    return sweep


def at_scale(sweep: Sweep, scale: Scale, rows: Rows | None = None) -> Sweep:
    """`sweep`, over these rows if there are some, with what is smaller at a scale."""
    if rows is not None:
        sweep = replace(
            sweep, space=space({label: _sized(label, row, scale) for label, row in rows.items()})
        )
    if not scale.values:
        return sweep
    # Small models train one thread a core: more of them side by side.
    return replace(sweep, base=sweep.base.with_values(scale.values), threads=1, lanes=8)


def _sized(label: str, row: Values, scale: Scale) -> Values:
    return {key: value for key, value in row.items() if key not in scale.values} | dict(
        scale.rows.get(label, {})
    )


def space(rows: Rows) -> Switch:
    """A conditional choice by label: each row is one point, with its own values."""
    cases = {
        label: Product(tuple(Choice(key, (value,)) for key, value in row.items()))
        for label, row in rows.items()
    }
    return Switch("label", tuple(cases.items()))


def labels(sweep: Sweep) -> list[str]:
    """The rows of a sweep; none where it is over something else."""
    match sweep.space:
        case Switch(key="label", cases=cases):
            return [str(label) for label, _ in cases]
    return []


def merged(first: Sweep, second: Sweep) -> Sweep:
    """One sweep over the rows of both, which are the same definition's, narrowed in two ways."""
    if labels(first) == labels(second):
        return first
    match first.space, second.space:
        case Switch(cases=mine), Switch(cases=theirs):
            return replace(first, space=Switch("label", tuple(dict((*mine, *theirs)).items())))
    raise AssertionError(f"{first.name} has no rows")


def narrowed(sweep: Sweep, kept: Collection[str]) -> Sweep:
    """The same sweep over some of its rows only; one over something else stays whole."""
    match sweep.space:
        case Switch(key="label", cases=cases):
            return replace(
                sweep, space=Switch("label", tuple(case for case in cases if case[0] in kept))
            )
    return sweep
