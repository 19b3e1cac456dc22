"""Optuna search spaces, one file each: `space(...)` returns a tree of the four parts below.

    Choice   a key takes one of finitely many values
    Range    a key takes any number between two bounds
    Product  several spaces at once, with distinct keys
    Switch   a choice whose value decides which further space applies (define-by-run)

A space yields overrides of a `TrialConfig`: `{"regularizer.z_cells": 0.5}`. Every space suggests from an Optuna
trial; one without a `Range` in it also has a `grid()`. Spaces are plain data: `to_json` and `from_json` round-trip.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from zoneout_core import registry
from zoneout_core.config import KEYS, TrialConfig, locate
from zoneout_core.errors import ConfigError, SpaceError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Overrides = dict[str, Any]
"""Values by dotted configuration key."""


class Space(ABC):
    """A set of overrides that Optuna can draw from."""

    @abstractmethod
    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        """Draw one assignment with `trial`.

        Optuna wants one set of choices per parameter name, so inside a `Switch` the name carries its `case`:
        `optim.clip_norm [optim.clip=gradient]`.
        """

    @abstractmethod
    def grid(self) -> list[Overrides]:
        """Every assignment, in a fixed order. Raises `SpaceError` when there are infinitely many."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Dotted keys that the space may set."""

    @abstractmethod
    def bounds(self) -> Iterator[Overrides]:
        """Assignments of single keys that are valid for a configuration only if the whole space is."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` turns back into an equal space."""

    def check(self, base: TrialConfig) -> None:
        """Raises `ConfigError` or `UnknownName` unless every value of the space is valid on top of `base`."""
        for overrides in self.bounds():
            base.with_values(overrides)


@dataclass(frozen=True)
class Choice(Space):
    """One of `values`, for the configuration key `key`."""

    key: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _full(self.key))
        if not self.values or len(set(self.values)) != len(self.values):
            raise ConfigError(
                f"A choice needs distinct values, but {self.key} has {self.values!r}. Name each value once."
            )

    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        return {self.key: trial.suggest_categorical(self.key + case, self.values)}

    def grid(self) -> list[Overrides]:
        return [{self.key: value} for value in self.values]

    def keys(self) -> Iterator[str]:
        yield self.key

    def bounds(self) -> Iterator[Overrides]:
        yield from self.grid()

    def to_json(self) -> dict[str, Any]:
        return {"kind": "choice", "key": self.key, "values": list(self.values)}


@dataclass(frozen=True)
class Range(Space):
    """Any number from `low` to `high`, drawn uniformly or, with `log`, uniformly in its logarithm."""

    key: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _full(self.key))
        if not self.low < self.high or (self.log and self.low <= 0):
            rule = "0 < low < high" if self.log else "low < high"
            raise ConfigError(
                f"A range needs {rule}, but {self.key} has low={self.low}, high={self.high}. Mend the bounds."
            )

    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        return {self.key: trial.suggest_float(self.key + case, self.low, self.high, log=self.log)}

    def grid(self) -> list[Overrides]:
        raise SpaceError(
            f"A grid needs finitely many values, but {self.key} ranges from {self.low} to {self.high}. "
            "Choose --set sampler=tpe (or random, qmc, gp), or give the space a list of values."
        )

    def keys(self) -> Iterator[str]:
        yield self.key

    def bounds(self) -> Iterator[Overrides]:
        yield {self.key: self.low}
        yield {self.key: self.high}

    def to_json(self) -> dict[str, Any]:
        return {"kind": "range", "key": self.key, "low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Product(Space):
    """All of `parts` at once. Their grid varies the last part fastest."""

    parts: tuple[Space, ...]

    def __post_init__(self) -> None:
        seen = [key for part in self.parts for key in part.keys()]
        twice = sorted({key for key in seen if seen.count(key) > 1})
        if twice:
            raise ConfigError(f"Parts of a product need distinct keys, but {', '.join(twice)} occurs twice. Drop one.")

    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        return _merge(part.suggest(trial, case) for part in self.parts)

    def grid(self) -> list[Overrides]:
        return [_merge(point) for point in product(*(part.grid() for part in self.parts))]

    def keys(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.keys()

    def bounds(self) -> Iterator[Overrides]:
        for part in self.parts:
            yield from part.bounds()

    def to_json(self) -> dict[str, Any]:
        return {"kind": "product", "parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True)
class Switch(Space):
    """A choice of `key` whose value brings its own further space: what is only there for some values."""

    key: str
    cases: tuple[tuple[Any, Space], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _full(self.key))
        if any(self.key in inner.keys() for _, inner in self.cases):
            raise ConfigError(f"A case of a switch must not set {self.key} again. Drop the key from the inner space.")

    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        value = trial.suggest_categorical(self.key + case, [value for value, _ in self.cases])
        inner: Overrides = dict(self.cases)[value].suggest(trial, f"{case} [{self.key}={value}]")
        return {self.key: value} | inner

    def grid(self) -> list[Overrides]:
        return [{self.key: value} | point for value, inner in self.cases for point in inner.grid()]

    def keys(self) -> Iterator[str]:
        yield self.key
        yield from dict.fromkeys(key for _, inner in self.cases for key in inner.keys())

    def bounds(self) -> Iterator[Overrides]:
        for value, inner in self.cases:
            yield {self.key: value}
            yield from ({self.key: value} | bound for bound in inner.bounds())

    def to_json(self) -> dict[str, Any]:
        return {"kind": "switch", "key": self.key, "cases": [[value, inner.to_json()] for value, inner in self.cases]}


NOTHING = Product(())
"""The space with one empty assignment: the other case of a `Switch`, or a sweep over seeds alone."""


class _Point:
    """Stands in for an Optuna trial, to learn under which parameter names a given point is stored."""

    def __init__(self, point: Overrides) -> None:
        self.point, self.params = point, Overrides()

    def suggest_categorical(self, name: str, choices: object) -> Any:
        return self.params.setdefault(name, self.point[name.partition(" ")[0]])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self.suggest_categorical(name, None)


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
        f"A space is a choice, range, product or switch, but this is {dict(data)!r}. Was it edited by hand?"
    )


def numbers(key: str, values: tuple[float, ...] | None, low: float, high: float, *, log: bool = False) -> Space:
    """What most files of this package return: a `Choice` when values are listed, else a `Range`."""
    return Choice(key, values) if values is not None else Range(key, low, high, log)


def names() -> list[str]:
    """Spaces that exist: the file names of this package."""
    return registry.names(__name__)


def get(name: str) -> Space:
    """Space `name` with its default values. Raises `UnknownName` with the closest match."""
    space: Space = registry.load(__name__, name, "space").space()
    return space


def _full(key: str) -> str:
    section, name = locate(key)
    full = f"{section}.{name}" if section else name
    assert full in KEYS
    return full


def _merge(points: Iterable[Overrides]) -> Overrides:
    return {key: value for point in points for key, value in point.items()}
