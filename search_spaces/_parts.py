"""The parts that spaces are made of."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from zoneout_core.config import KEYS, TrialConfig, locate
from zoneout_core.errors import ConfigError, SpaceError, UnknownName

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Overrides = dict[str, Any]
"""Values by dotted configuration key."""
CHECKED = 4096
"""A space with at most so many corners is checked at each of them, a larger one at its bounds."""


class Space(ABC):
    """A set of overrides that Optuna can draw from."""

    @abstractmethod
    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        """Draw one assignment with `trial`.

        Optuna wants one set of choices per parameter name, so inside a `Switch` the name carries its `case`:
        `optim.clip_norm [optim.clip=gradient]`.
        """

    def grid(self) -> list[Overrides]:
        """Every assignment, in a fixed order. Raises `SpaceError` when there are infinitely many."""
        for endless in self.ranges():
            raise SpaceError(
                f"A grid needs finitely many values, but {endless.key} ranges from {endless.low} to {endless.high}. "
                "Choose --set sampler=tpe (or random, qmc, gp), or give the space a list of values."
            )
        return list(self.corners())

    @abstractmethod
    def corners(self) -> Iterator[Overrides]:
        """Every assignment, were each `Range` only its two ends: the grid, where there is one."""

    @abstractmethod
    def bounds(self) -> Iterator[Overrides]:
        """Some corners, such that each value of each `Choice` and each end of each `Range` is in one of them."""

    @abstractmethod
    def ranges(self) -> Iterator["Range"]:
        """What keeps the space from being finite."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Dotted keys that the space may set."""

    @abstractmethod
    def always(self) -> Iterator[str]:
        """Dotted keys that every assignment sets."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` turns back into an equal space."""

    def check(self, base: TrialConfig) -> None:
        """Try the space on top of `base`: at each of its corners, or at its bounds when there are too many of those.

        Raises `ConfigError` naming the point and why no trial can have it.
        """
        corners = list(islice(self.corners(), CHECKED + 1))
        for point in corners if len(corners) <= CHECKED else self.bounds():
            try:
                base.with_values(point)
            except (ConfigError, UnknownName) as error:
                why, _, _ = str(error).partition(" Set it with")  # what is searched cannot be set
                where = ", ".join(f"{key}={value}" for key, value in point.items())
                raise ConfigError(
                    f"Every point of a space must be a configuration, but {where} is none: {why} "
                    "Take that point out of the space, or set what it does not go with."
                ) from None


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

    def corners(self) -> Iterator[Overrides]:
        return ({self.key: value} for value in self.values)

    def bounds(self) -> Iterator[Overrides]:
        return self.corners()

    def ranges(self) -> Iterator["Range"]:
        return iter(())

    def keys(self) -> Iterator[str]:
        yield self.key

    def always(self) -> Iterator[str]:
        return self.keys()

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

    def corners(self) -> Iterator[Overrides]:
        yield {self.key: self.low}
        yield {self.key: self.high}

    def bounds(self) -> Iterator[Overrides]:
        return self.corners()

    def ranges(self) -> Iterator["Range"]:
        yield self

    def keys(self) -> Iterator[str]:
        yield self.key

    def always(self) -> Iterator[str]:
        return self.keys()

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

    def corners(self) -> Iterator[Overrides]:
        if not self.parts:
            return iter([{}])
        first, rest = self.parts[0], Product(self.parts[1:])
        return (point | other for point in first.corners() for other in rest.corners())

    def bounds(self) -> Iterator[Overrides]:
        firsts = [next(part.bounds()) for part in self.parts]
        yield _merge(firsts)
        for index, part in enumerate(self.parts):
            others = _merge(firsts[:index] + firsts[index + 1 :])
            yield from (others | bound for bound in islice(part.bounds(), 1, None))

    def ranges(self) -> Iterator[Range]:
        return chain.from_iterable(part.ranges() for part in self.parts)

    def keys(self) -> Iterator[str]:
        return chain.from_iterable(part.keys() for part in self.parts)

    def always(self) -> Iterator[str]:
        return chain.from_iterable(part.always() for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "product", "parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True)
class Switch(Space):
    """A choice of `key` whose value brings its own further space: what is only there for some values."""

    key: str
    cases: tuple[tuple[Any, Space], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _full(self.key))
        values = [value for value, _ in self.cases]
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"A switch needs distinct values, but {self.key} has {values!r}. Name each value once.")
        if any(self.key in inner.keys() for _, inner in self.cases):
            raise ConfigError(f"A case of a switch must not set {self.key} again. Drop the key from the inner space.")

    def suggest(self, trial: "BaseTrial", case: str = "") -> Overrides:
        value = trial.suggest_categorical(self.key + case, [value for value, _ in self.cases])
        inner: Overrides = dict(self.cases)[value].suggest(trial, f"{case} [{self.key}={value}]")
        return {self.key: value} | inner

    def corners(self) -> Iterator[Overrides]:
        return ({self.key: value} | point for value, inner in self.cases for point in inner.corners())

    def bounds(self) -> Iterator[Overrides]:
        return ({self.key: value} | point for value, inner in self.cases for point in inner.bounds())

    def ranges(self) -> Iterator[Range]:
        return chain.from_iterable(inner.ranges() for _, inner in self.cases)

    def keys(self) -> Iterator[str]:
        yield self.key
        yield from dict.fromkeys(key for _, inner in self.cases for key in inner.keys())

    def always(self) -> Iterator[str]:
        yield self.key
        yield from (key for key in self.keys() if all(key in inner.always() for _, inner in self.cases))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "switch", "key": self.key, "cases": [[value, inner.to_json()] for value, inner in self.cases]}


NOTHING = Product(())
"""The space with one empty assignment: the other case of a `Switch`, or a sweep over seeds alone."""


def _full(key: str) -> str:
    section, name = locate(key)
    full = f"{section}.{name}" if section else name
    assert full in KEYS
    return full


def _merge(points: Iterable[Overrides]) -> Overrides:
    return {key: value for point in points for key, value in point.items()}
