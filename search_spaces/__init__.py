"""Optuna search spaces, one file each: `space(...)` returns a tree of the four parts below.

    Choice   a key takes one of finitely many values
    Range    a key takes any number between two bounds: any whole number, where the key is one
    Product  several spaces at once, with distinct keys
    Switch   a choice whose value decides which further space applies (define-by-run)

A space yields overrides of a `TrialConfig`: `{"regularizer.z_cells": 0.5}`. Every space suggests
from an Optuna trial; one without a `Range` in it also has a `grid()`. Spaces are plain data:
`to_json` and `from_json` round-trip.

A `Switch` over `label` makes up a table: each of its rows brings the settings that belong to it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from search_spaces._check import CHECKED
from search_spaces._parts import NOTHING, Choice, Overrides, Product, Range, Space, Switch
from zoneout_core.config import registry
from zoneout_core.config.trial import plain
from zoneout_core.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = [
    "CHECKED",
    "NOTHING",
    "Choice",
    "Overrides",
    "Product",
    "Range",
    "Space",
    "Switch",
    "from_json",
    "get",
    "names",
    "numbers",
    "params",
]


class _Point:
    """Stands in for an Optuna trial, to learn under which parameter names a given point is
    stored."""

    def __init__(self, point: Overrides) -> None:
        self.point, self.params = point, Overrides()

    def suggest_categorical(self, name: str, choices: object) -> Any:
        return self.params.setdefault(name, plain(self.point[name.partition(" ")[0]]))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self.suggest_categorical(name, None)

    suggest_int = suggest_float


def params(space: Space, point: Overrides) -> dict[str, Any]:
    """Optuna's parameters of one point of the space, as `Study.enqueue_trial` wants them."""
    fixed = _Point(point)
    space.suggest(cast("BaseTrial", fixed))
    return fixed.params


def from_json(data: Mapping[str, Any]) -> Space:
    """The space that `to_json` described. Raises `ConfigError` for an unknown kind."""
    match data:
        case {"kind": "choice", "key": key, "values": values}:
            return Choice(key, tuple(values))
        case {"kind": "range", "key": key, "low": low, "high": high, "log": log}:
            return Range(key, low, high, log)
        case {"kind": "product", "parts": parts}:
            return Product(tuple(from_json(part) for part in parts))
        case {"kind": "switch", "key": key, "cases": cases}:
            return Switch(key, tuple((value, from_json(inner)) for value, inner in cases))
    raise ConfigError(
        f"A space is a choice, range, product or switch, but this is {dict(data)!r}. Was it edited"
        " by hand?"
    )


def numbers(
    key: str, values: tuple[float, ...] | None, low: float, high: float, *, log: bool = False
) -> Space:
    """What most files of this package return: a `Choice` when values are listed, else a `Range`."""
    if values is not None:
        return Choice(key, values)
    return Range(key, low, high, log)


def names() -> list[str]:
    """Spaces that exist: the file names of this package."""
    return registry.names(__name__)


def get(name: str) -> Space:
    """Space `name` with its default values. Raises `UnknownName` with the closest match."""
    space: Space = registry.load(__name__, name, "space").space()
    return space
