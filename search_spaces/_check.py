"""Checks, before a sweep begins, that every point of a space is a valid configuration. Otherwise a
draw could end the sweep."""

import math
import random
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from search_spaces._parts import Overrides, Space

CHECKED = 4096
"""A space with at most this many corners is checked at all of them, a larger one at its bounds."""
CHECKED_BOUNDS = 4 * CHECKED
"""At most this many bounds are checked."""
DRAWN = 64
"""Every space is also checked at this many points between its ends."""


def check(space: "Space", base: TrialConfig) -> None:
    """Raise `ConfigError`, with the reason, for the first checked point that is not a valid
    configuration on top of `base`."""
    corners = list(islice(space.corners(), CHECKED + 1))
    dice = _Dice()
    drawn = (space.suggest(dice) for _ in range(DRAWN))
    extremes: Iterable[Overrides] = corners
    if len(corners) > CHECKED:
        extremes = islice(space.bounds(), CHECKED_BOUNDS)
    for point in chain(extremes, drawn):
        try:
            base.with_values(point)
        except (ConfigError, UnknownName) as error:
            # "Set it with" would be wrong advice: a searched key cannot be set.
            reason, _, _ = str(error).partition(" Set it with")
            values = ", ".join(f"{key}={value}" for key, value in point.items())
            raise ConfigError(
                f"Every point of a space must be a valid configuration, but {values} is not:"
                f" {reason} Take that point out of the space, or change the setting that it"
                " conflicts with."
            ) from None


class _Dice:
    """Stands in for an Optuna trial and draws the same points each time, without Optuna."""

    def __init__(self) -> None:
        self._random = random.Random(0)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if log:
            return math.exp(self._random.uniform(math.log(low), math.log(high)))
        return self._random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return round(self.suggest_float(name, low, high, log=log))
