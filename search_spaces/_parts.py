"""The parts that spaces are made of."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from typing import Any, Protocol

from search_spaces._check import check
from zoneout_core.config.keys import full_key, owners_of, type_of
from zoneout_core.config.trial import TrialConfig, coerce, plain
from zoneout_core.errors import ConfigError, SpaceError, UnknownName

Overrides = dict[str, object]
"""Values by dotted configuration key."""
WIDEST = 2**31
"""The largest bound of a range of integers: in a wider range, TPE's arithmetic cannot tell
neighbouring integers apart."""


class Suggester(Protocol):
    """Chooses the values of a space's parameters, as an Optuna trial does."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of `choices`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from `low` to `high`; with `log`, evenly over its logarithm."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """The same, but an integer."""


class Space(ABC):
    """A set of overrides that Optuna can draw from."""

    @abstractmethod
    def suggest(self, trial: Suggester, case: str = "") -> Overrides:
        """Draw one assignment with `trial`.

        Optuna wants one set of choices per parameter name, so inside a `Switch` the name carries
        its `case`: `optim.clip_norm [optim.clip=gradient]`.
        """

    def grid(self) -> list[Overrides]:
        """Every assignment, in a fixed order. Raises `SpaceError` when there are infinitely
        many."""
        for endless in self.ranges():
            raise SpaceError(
                f"A grid needs finitely many values, but {endless.key} ranges from {endless.low} to"
                f" {endless.high}. Choose --set sampler=tpe (or random, qmc, gp), or give the space"
                " a list of values."
            )
        return list(self.corners())

    @abstractmethod
    def corners(self) -> Iterator[Overrides]:
        """Every assignment, with only the two ends of each `Range`. Without a `Range` this is the
        grid."""

    @abstractmethod
    def bounds(self) -> Iterator[Overrides]:
        """Some corners. Together they have every value of every `Choice` and both ends of every
        `Range`.

        In a `Product` any two of these, from different parts, occur together in a corner.
        """

    @abstractmethod
    def ranges(self) -> Iterator["Range"]:
        """The ranges in the space, which make it infinite."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Dotted keys that the space may set."""

    @abstractmethod
    def always(self) -> Iterator[str]:
        """Dotted keys that every assignment sets."""

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """Plain data that `from_json` turns back into an equal space."""

    def check(self, base: TrialConfig) -> None:
        """Try the space on top of `base`: at its corners, or at its bounds where it has too many
        corners, and at points between.

        Raises `ConfigError` that names the point and says why no trial can have it.
        """
        check(self, base)


@dataclass(frozen=True)
class Choice(Space):
    """One of `values`, for the configuration key `key`."""

    key: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", full_key(self.key))
        values = tuple(_read(self.key, value) for value in self.values)
        if not values or len(set(values)) != len(values):
            raise ConfigError(
                f"A choice needs distinct values, but {self.key} has {self.values!r}. Name each"
                " value once."
            )
        object.__setattr__(self, "values", values)

    def suggest(self, trial: Suggester, case: str = "") -> Overrides:
        return {self.key: _chosen(trial, self.key + case, self.values)}

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

    def to_json(self) -> dict[str, object]:
        return {"kind": "choice", "key": self.key, "values": plain(self.values)}


@dataclass(frozen=True)
class Range(Space):
    """Any number from `low` to `high`, drawn uniformly or, with `log`, uniformly in its logarithm.

    Where the key is an integer, such as `epochs`, only integers are drawn, both ends included.
    """

    key: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", full_key(self.key))
        if type_of(self.key) not in (int, float):
            raise ConfigError(
                f"A range needs a key whose values are numbers, but {self.key} is not. Use a"
                " choice."
            )
        for end in ("low", "high"):
            object.__setattr__(self, end, _read(self.key, getattr(self, end)))
        if not self.low < self.high or (self.log and self.low <= 0):
            if self.log:
                rule = "0 < low < high"
            else:
                rule = "low < high"
            raise ConfigError(
                f"A range needs {rule}, but {self.key} has low={self.low}, high={self.high}. Mend"
                " the bounds."
            )
        if not math.isfinite(self.high - self.low) or (
            self.integer and max(-self.low, self.high) > WIDEST
        ):
            raise ConfigError(
                f"A range needs two finite ends, integers up to 2^31, but {self.key} has"
                f" low={self.low}, high={self.high}. Mend the bounds."
            )

    @property
    def integer(self) -> bool:
        """Whether its numbers are integers."""
        return type_of(self.key) is int

    def suggest(self, trial: Suggester, case: str = "") -> Overrides:
        name = self.key + case
        low, high = self.low, self.high
        if self.integer:
            return {self.key: trial.suggest_int(name, int(low), int(high), log=self.log)}
        drawn = trial.suggest_float(name, low, high, log=self.log)
        return {self.key: min(max(drawn, low), high)}  # exp(log(low)) may be a little below low

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

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "range",
            "key": self.key,
            "low": self.low,
            "high": self.high,
            "log": self.log,
        }


@dataclass(frozen=True)
class Product(Space):
    """All of `parts` at once. The grid varies the last part fastest."""

    parts: tuple[Space, ...]

    def __post_init__(self) -> None:
        seen = [key for part in self.parts for key in part.keys()]
        twice = sorted({key for key in seen if seen.count(key) > 1})
        if twice:
            raise ConfigError(
                f"Parts of a product need distinct keys, but {', '.join(twice)} occurs twice. Drop"
                " one."
            )

    def suggest(self, trial: Suggester, case: str = "") -> Overrides:
        return _merge(part.suggest(trial, case) for part in self.parts)

    def corners(self) -> Iterator[Overrides]:
        if not self.parts:
            return iter([{}])
        first = self.parts[0]
        rest = Product(self.parts[1:])
        return (corner | other for corner in first.corners() for other in rest.corners())

    def bounds(self) -> Iterator[Overrides]:
        firsts = [next(part.bounds()) for part in self.parts]
        yield _merge(firsts)
        for index, part in enumerate(self.parts):
            yield from (_with(firsts, {index: bound}) for bound in islice(part.bounds(), 1, None))
        for i, j in combinations(range(len(self.parts)), 2):
            for bound in islice(self.parts[i].bounds(), 1, None):
                for other in islice(self.parts[j].bounds(), 1, None):
                    yield _with(firsts, {i: bound, j: other})

    def ranges(self) -> Iterator[Range]:
        return chain.from_iterable(part.ranges() for part in self.parts)

    def keys(self) -> Iterator[str]:
        return chain.from_iterable(part.keys() for part in self.parts)

    def always(self) -> Iterator[str]:
        return chain.from_iterable(part.always() for part in self.parts)

    def to_json(self) -> dict[str, object]:
        return {"kind": "product", "parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True)
class Switch(Space):
    """A choice for `key` whose every value brings a further space, with keys that other values may
    lack."""

    key: str
    cases: tuple[tuple[Any, Space], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", full_key(self.key))
        cases = tuple((_read(self.key, value), inner) for value, inner in self.cases)
        values = [value for value, _ in self.cases]
        if not cases or len(dict(cases)) != len(cases):
            raise ConfigError(
                f"A switch needs distinct values, but {self.key} has {values!r}. Name each value"
                " once."
            )
        object.__setattr__(self, "cases", cases)
        if any(self.key in inner.keys() for _, inner in self.cases):
            raise ConfigError(
                f"A case of a switch must not set {self.key} again. Drop the key from the inner"
                " space."
            )

    def suggest(self, trial: Suggester, case: str = "") -> Overrides:
        value = _chosen(trial, self.key + case, [value for value, _ in self.cases])
        inner: Overrides = dict(self.cases)[value].suggest(trial, f"{case} [{self.key}={value}]")
        return {self.key: value} | inner

    def corners(self) -> Iterator[Overrides]:
        return (
            {self.key: value} | point for value, inner in self.cases for point in inner.corners()
        )

    def bounds(self) -> Iterator[Overrides]:
        return (
            {self.key: value} | point for value, inner in self.cases for point in inner.bounds()
        )

    def ranges(self) -> Iterator[Range]:
        return chain.from_iterable(inner.ranges() for _, inner in self.cases)

    def keys(self) -> Iterator[str]:
        yield self.key
        yield from dict.fromkeys(key for _, inner in self.cases for key in inner.keys())

    def always(self) -> Iterator[str]:
        yield self.key
        yield from (
            key for key in self.keys() if all(key in inner.always() for _, inner in self.cases)
        )

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "switch",
            "key": self.key,
            "cases": [[plain(value), inner.to_json()] for value, inner in self.cases],
        }


NOTHING = Product(())
"""The space with one empty assignment: the other case of a `Switch`, or a sweep over seeds
alone."""


def _merge(points: Iterable[Overrides]) -> Overrides:
    return {key: value for point in points for key, value in point.items()}


def _with(points: Sequence[Overrides], replacements: dict[int, Overrides]) -> Overrides:
    """The points merged, those at some indices replaced. Replacements come last."""
    unchanged = [point for index, point in enumerate(points) if index not in replacements]
    return _merge([*unchanged, *replacements.values()])


def _read(key: str, value: object) -> Any:
    """`value` as the type of the key, so that values that mean the same configuration are equal.

    A setting of several cells is read as the first of them that accepts the value reads it. Raises
    `ConfigError` or `UnknownName`, naming the key, for a value of another type.
    """
    section, _, name = full_key(key).rpartition(".")
    refusals: list[ConfigError | UnknownName] = []
    for owner in owners_of(key):
        try:
            return coerce(owner, name, value, section)
        except (ConfigError, UnknownName) as error:
            refusals.append(error)
    if isinstance(refusals[0], UnknownName):
        raise refusals[0]
    # "Set it with" would be wrong advice: a searched key cannot be set.
    reason, _, _ = str(refusals[0]).partition(" Set it with")
    raise ConfigError(f"{reason} Mend that value of the space.")


def _chosen(trial: Suggester, name: str, values: Sequence[Any]) -> Any:
    """One of `values`; Optuna sees and stores them as strict JSON holds them."""
    stored = plain(values)
    value_of = dict(zip(stored, values, strict=True))
    return value_of[trial.suggest_categorical(name, stored)]
