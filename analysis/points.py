"""Points of a search space, with the results of their trials. Trials that differ only in the seed
belong to one point.

Results are averaged here: over the seeds of a point, and nothing else.
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
"""A sampler may draw a point twice. Of two trials with the same seed, the one whose state comes
first here counts."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The keys and points that a sweep searches, by its definition."""

    keys: tuple[str, ...]
    """Full names, in the definition's order; all but the seed."""
    points: tuple[Mapping[str, object], ...] = ()
    """The points of the space, with the seed if it is searched. Empty if only the points that
    trials drew are known."""
    has_every_key: bool = True
    """Whether `points` have every key. In an endless or very large space they have only the axes of
    the plane."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The results of the trials of one point."""

    params: Mapping[str, object]
    """Its values, by searched key; a key that does not apply is missing."""
    values: tuple[float, ...]
    """The metric of every seed that completed."""
    lost: Mapping[TrialState, int]
    """How many seeds have no value, by the state of their trial."""
    seeds: int
    """How many seeds the definition has for it."""

    @property
    def mean(self) -> float:
        """The mean over the seeds that completed; NaN if none did."""
        if not self.values:
            return math.nan
        return math.fsum(self.values) / len(self.values)  # exact sums: no order changes a bit


def compute(frame: "pd.DataFrame", metric: str, searched: Searched) -> list[Point]:
    """The points of the space, in its order, and then the others that trials drew.

    `frame` has a line per trial: `seed state`, the searched keys and column `metric`. A seed that
    was drawn twice counts once, since equal trials have equal numbers.
    """
    results: dict[_Key, dict[Any, tuple[TrialState, float]]] = {}
    columns = [frame[key] if key in frame.columns else [None] * len(frame) for key in searched.keys]
    for *params, seed, state, value in zip(
        *columns, frame[SEED], frame["state"], frame[metric], strict=True
    ):
        seeds = results.setdefault(_key(searched.keys, params), {})
        if seed not in seeds or _SAYS_MOST.index(state) < _SAYS_MOST.index(seeds[seed][0]):
            seeds[seed] = TrialState(state), float(value)
    seed_counts = _seed_counts(searched, results)
    return [
        _point(searched.keys, key, results.get(key, {}), seed_counts[key]) for key in seed_counts
    ]


def _seed_counts(searched: Searched, drawn: Iterable[_Key]) -> dict[_Key, int]:
    """How many seeds the definition has for each point: first the points of the space, then others
    that trials drew."""
    seeds: dict[_Key, set[Any]] = {}
    if searched.has_every_key:
        for point in searched.points:
            seeds.setdefault(_key(searched.keys, map(point.get, searched.keys)), set()).add(
                point.get(SEED)
            )
        everywhere = 0
    else:  # every point has every seed
        everywhere = len({point.get(SEED) for point in searched.points})
    return {key: len(distinct) for key, distinct in seeds.items()} | {
        key: everywhere for key in drawn if key not in seeds
    }


def _point(
    keys: tuple[str, ...], params: _Key, results: Mapping[Any, tuple[TrialState, float]], seeds: int
) -> Point:
    return Point(
        params={key: value for key, value in zip(keys, params, strict=True) if value is not None},
        values=tuple(
            results[seed][1] for seed in sorted(results) if results[seed][0] is TrialState.COMPLETE
        ),
        lost=Counter(state for state, _ in results.values() if state is not TrialState.COMPLETE),
        seeds=max(seeds, len(results)),
    )


def _key(keys: tuple[str, ...], values: Iterable[object]) -> _Key:
    """What distinguishes points; None stands for a key that does not apply."""
    return tuple(
        None if _absent(value) else plain(key, value)
        for key, value in zip(keys, values, strict=True)
    )


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
