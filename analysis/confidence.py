"""The confidence interval of a mean over seeds, by Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

LEVEL = 0.95
"""The share of intervals that would hold the true mean, if seeds were drawn again and again."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and its confidence interval."""

    values: tuple[float, ...]
    """One for each seed; never empty."""

    @property
    def mean(self) -> float:
        """The mean, from an exact sum, so that the order of the seeds changes no bit."""
        return math.fsum(self.values) / len(self.values)

    @property
    def half_width(self) -> float | None:
        """Half of the confidence interval (`LEVEL`); None with one seed, which says nothing
        about the spread."""
        count = len(self.values)
        if count < 2:
            return None
        variance = math.fsum((value - self.mean) ** 2 for value in self.values) / (count - 1)
        return quantile(0.5 + LEVEL / 2, count - 1) * math.sqrt(variance / count)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval of the mean."""
        half = self.half_width
        if half is None:
            return None
        return (self.mean - half, self.mean + half)


def estimate(values: Sequence[float]) -> Estimate | None:
    """The estimate from these values; None if there are none."""
    if len(values):
        return Estimate(tuple(float(value) for value in values))
    return None


@cache
def quantile(probability: float, degrees: int) -> float:
    """The t that Student's distribution with `degrees` degrees of freedom stays below with
    `probability`."""
    assert 0 < probability < 1, probability
    assert degrees >= 1, degrees
    # scipy.stats.t.ppf calls this too, but importing scipy.stats takes seconds.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
