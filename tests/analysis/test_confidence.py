"""Student's t against published tables, and intervals against numbers worked out by hand."""

import json
import math
from pathlib import Path

import pytest

from analysis.confidence import Estimate, estimate, quantile


@pytest.mark.parametrize(
    ("degrees", "t"),
    [
        (1, 12.7062),
        (2, 4.3027),
        (3, 3.1824),
        (4, 2.7764),
        (9, 2.2622),
        (10, 2.2281),
        (29, 2.0452),
        (120, 1.9799),
    ],
)
def test_two_sided_95_percent(degrees: int, t: float) -> None:
    assert quantile(0.975, degrees) == pytest.approx(t, abs=5e-5)


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


def test_quantile_inverts_the_distribution() -> None:
    for degrees in (1, 2, 3, 5, 8, 29, 30, 120):
        for probability in (0.6, 0.9, 0.975):
            there_and_back = distribution(quantile(probability, degrees), degrees)
            assert there_and_back == pytest.approx(probability, abs=1e-13)
        assert distribution(0.0, degrees) == 0.5


def test_published_intervals_are_what_they_were(repo_root: Path) -> None:
    """To 12 digits, and so to all that were printed."""
    count = 0
    for file in (repo_root / "docs" / "gallery").glob("*/numbers.json"):
        for block in json.loads(file.read_text())["blocks"]:
            for row in block.get("rows", []):
                for number in row["numbers"].values():
                    if number["interval"] is not None:
                        count += 1
                        interval = Estimate(tuple(number["values"])).interval
                        assert interval == pytest.approx(number["interval"], rel=1e-12, abs=1e-12)
    assert count > 0


def test_an_interval_by_hand() -> None:
    estimated = Estimate((1.0, 2.0, 3.0))
    half = 4.302652729911275 * 1.0 / math.sqrt(3)
    assert estimated.mean == 2.0
    assert estimated.interval == pytest.approx((2 - half, 2 + half), abs=1e-8)


def test_one_seed_has_no_interval_and_none_has_no_estimate() -> None:
    assert (Estimate((1.5,)).mean, Estimate((1.5,)).interval) == (1.5, None)
    assert estimate([]) is None


def test_the_order_of_seeds_changes_no_bit() -> None:
    values = (0.1, 0.2, 0.3, 1e-9)
    assert Estimate(values).mean == Estimate(values[::-1]).mean
