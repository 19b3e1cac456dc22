"""Student's t against published tables, and intervals against numbers worked out by hand."""

import math

import pytest

from analysis.confidence import Estimate, distribution, estimate, quantile


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


def test_quantile_inverts_the_distribution() -> None:
    for degrees in (1, 2, 5, 8):
        assert distribution(quantile(0.9, degrees), degrees) == pytest.approx(0.9, abs=1e-12)
        assert distribution(0.0, degrees) == 0.5


def test_an_interval_by_hand() -> None:
    found = Estimate((1.0, 2.0, 3.0))
    half = 4.302652729911275 * 1.0 / math.sqrt(3)
    assert found.mean == 2.0
    assert found.interval == pytest.approx((2 - half, 2 + half), abs=1e-8)


def test_one_seed_has_no_interval_and_none_has_no_estimate() -> None:
    assert (Estimate((1.5,)).mean, Estimate((1.5,)).interval) == (1.5, None)
    assert estimate([]) is None


def test_the_order_of_seeds_changes_no_bit() -> None:
    values = (0.1, 0.2, 0.3, 1e-9)
    assert Estimate(values).mean == Estimate(values[::-1]).mean
