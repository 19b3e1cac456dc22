"""Weight noise: its standard deviation (spec sections 2.4, 9.9). The paper's: 0.075."""

from search_spaces import Space, numbers

SIGMA_WEIGHTS = (0.075,)


def space(
    values: tuple[float, ...] | None = SIGMA_WEIGHTS, low: float = 0.005, high: float = 0.3
) -> Space:
    """`values` of sigma_weights; None: all of them from `low` to `high`, on a logarithmic scale."""
    return numbers("regularizer.weight_noise.sigma_weights", values, low, high, log=True)
