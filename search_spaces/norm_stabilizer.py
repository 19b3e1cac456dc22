"""The norm stabilizer: the weight of its penalty (spec sections 2.4, 9.10). The paper's: 50."""

from search_spaces import Space, numbers

BETA_NORM = (50.0,)


def space(
    values: tuple[float, ...] | None = BETA_NORM, low: float = 1.0, high: float = 500.0
) -> Space:
    """`values` of beta_norm; None: all of them from `low` to `high`, on a logarithmic scale."""
    return numbers("regularizer.norm_stabilizer.beta_norm", values, low, high, log=True)
