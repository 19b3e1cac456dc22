"""Points of a search space, and what their trials say. Trials that differ in nothing but the seed
make up one point.

The one place where an average is taken: over the seeds of a point, and over nothing else.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.load import plain
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    import pandas as pd

SEED = "seed"
_Key = tuple[object, ...]
_SAYS_MOST = (
    TrialState.COMPLETE,
    TrialState.FAILED,
    TrialState.PRUNED,
    TrialState.INTERRUPTED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
"""Which of two trials with one seed is believed: samplers may draw a point twice."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a sweep searches, as its definition says."""

    keys: tuple[str, ...]
    """Full names, in the definition's order; all but the seed."""
    points: tuple[Mapping[str, object], ...] = ()
    """The points of the space, with the seed where it is searched; none = only those that trials
    drew are known."""
    whole: bool = True
    """Whether `points` have every key. Of an endless or a very large space they have the axes of
    the plane alone."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What the trials of one point say."""

    at: Mapping[str, object]
    """Its value of every searched key that applies."""
    values: tuple[float, ...]
    """The metric of every seed that completed."""
    lost: Mapping[TrialState, int]
    """How many seeds were begun and have no value, by what became of them."""
    seeds: int
    """How many the definition has for it."""

    @property
    def mean(self) -> float:
        """Over the seeds that completed; NaN without any."""
        return (
            math.fsum(self.values) / len(self.values) if self.values else math.nan
        )  # fsum: in any order, to the bit


def compute(frame: "pd.DataFrame", metric: str, searched: Searched) -> list[Point]:
    """A point for each of the space, in its order, and for each other one that trials drew.

    `frame` has a line per trial: `seed state`, the searched keys and column `metric`. A seed that
    was drawn twice counts once, since equal trials have equal numbers.
    """
    told: dict[_Key, dict[Any, tuple[TrialState, float]]] = {}
    columns = [frame[key] if key in frame.columns else [None] * len(frame) for key in searched.keys]
    for *at, seed, state, value in zip(
        *columns, frame[SEED], frame["state"], frame[metric], strict=True
    ):
        seeds = told.setdefault(_key(searched.keys, at), {})
        if seed not in seeds or _SAYS_MOST.index(state) < _SAYS_MOST.index(seeds[seed][0]):
            seeds[seed] = TrialState(state), float(value)
    wanted = _wanted(searched, told)
    return [_point(searched.keys, at, told.get(at, {}), wanted[at]) for at in wanted]


def _wanted(searched: Searched, told: Iterable[_Key]) -> dict[_Key, int]:
    """How many seeds the definition has for each point: those of the space first, then others that
    trials drew."""
    seeds: dict[_Key, set[Any]] = {}
    if searched.whole:
        for point in searched.points:
            seeds.setdefault(_key(searched.keys, map(point.get, searched.keys)), set()).add(
                point.get(SEED)
            )
        everywhere = 0
    else:  # every point has every seed
        everywhere = len({point.get(SEED) for point in searched.points})
    return {at: len(given) for at, given in seeds.items()} | {
        at: everywhere for at in told if at not in seeds
    }


def _point(
    keys: tuple[str, ...], at: _Key, told: Mapping[Any, tuple[TrialState, float]], seeds: int
) -> Point:
    return Point(
        at={key: value for key, value in zip(keys, at, strict=True) if value is not None},
        values=tuple(
            told[seed][1] for seed in sorted(told) if told[seed][0] is TrialState.COMPLETE
        ),
        lost=Counter(state for state, _ in told.values() if state is not TrialState.COMPLETE),
        seeds=max(seeds, len(told)),
    )


def _key(keys: tuple[str, ...], values: Iterable[object]) -> _Key:
    """What tells points apart; None stands for a key that does not apply."""
    return tuple(
        None if _absent(value) else plain(key, value)
        for key, value in zip(keys, values, strict=True)
    )


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
