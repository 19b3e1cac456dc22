"""How sure a mean over seeds is: Student's t, written out, since nothing else here needs a
statistics library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
"""Of all intervals: if seeds were drawn anew, so large a share of the intervals would hold the true
mean."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    values: tuple[float, ...]
    """One for each seed; never empty."""

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(
            self.values
        )  # exact sums: the order of the seeds changes no bit

    @property
    def half_width(self) -> float | None:
        """Half of the confidence interval (`LEVEL`); None with one seed, which says nothing of its
        neighbours."""
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
    """None without a value."""
    if len(values):
        return Estimate(tuple(float(value) for value in values))
    return None


def quantile(probability: float, degrees: int) -> float:
    """The t that Student's distribution with so many degrees of freedom stays below with
    `probability`, from 1/2 on."""
    assert 0.5 <= probability < 1, probability
    assert degrees >= 1, degrees
    low, high = 0.0, 1.0
    while distribution(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(200):  # bisection, to the last bit
        middle = (low + high) / 2
        low, high = (middle, high) if distribution(middle, degrees) < probability else (low, middle)
    return high


def distribution(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0, by the finite series for whole degrees of freedom (Abramowitz and
    Stegun, 26.7.3-4)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    if odd:
        inside = 2 / math.pi * (angle + sine * total)
    else:
        inside = sine * total
    return 0.5 + inside / 2
