"""Optuna search spaces, one file each: `space(...)` returns a tree of the four parts below.

    Choice   a key takes one of finitely many values
    Range    a key takes any number between two bounds; only integers, where the key is an integer
    Product  several spaces at once, with distinct keys
    Switch   a choice whose value decides which further space applies (define-by-run)

A space yields overrides of a `TrialConfig`: `{"regularizer.zoneout.z_cells": 0.5}`. Every space
draws them with an Optuna trial; a space without a `Range` also has a `grid()`. Spaces are plain
data: `to_json` and `from_json` round-trip.

A `Switch` over `label` defines the rows of a table: each label brings its own settings.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search_spaces._check import CHECKED
from search_spaces._parts import NOTHING, Choice, Overrides, Product, Range, Space, Switch
from zoneout_core.config import registry
from zoneout_core.config.trial import TrialConfig, plain
from zoneout_core.errors import ConfigError

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
    "point_of",
]


class _Known:
    """Stands in for an Optuna trial whose values are known by key, and records the parameters that
    it is asked for."""

    def __init__(self, value: Callable[[str], Any]) -> None:
        self._value = value
        self.params = Overrides()

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.params.setdefault(name, plain(self._value(name.partition(" ")[0])))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self.suggest_categorical(name, ())

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        return self.suggest_categorical(name, ())


def params(space: Space, point: Overrides) -> dict[str, Any]:
    """Optuna's parameters of one point of the space, as `Study.enqueue_trial` takes them."""
    known = _Known(point.__getitem__)
    space.suggest(known)
    return known.params


def point_of(space: Space, config: TrialConfig) -> Overrides | None:
    """The values that a configuration has for the keys of the space; None when one of them is not
    among its choices."""
    try:
        return space.suggest(_Known(config.value))
    except (KeyError, ConfigError):  # another value, or another cell's setting
        return None


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
    """The space that most files of this package return: a `Choice` of `values`, or a `Range`
    where that is None."""
    if values is not None:
        return Choice(key, values)
    return Range(key, low, high, log)


def names() -> list[str]:
    """The spaces that exist: the file names of this package."""
    return registry.names(__name__)


def get(name: str) -> Space:
    """Space `name` with its default values. Raises `UnknownName` with the closest match."""
    make = registry.exported(__name__, name, "space", "space")
    with registry.blaming(f"Space {name} cannot be made"):
        space: Space = make()
    return space
