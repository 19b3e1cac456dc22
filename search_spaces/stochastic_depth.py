"""Stochastic depth in time: the probability that a layer skips a step (spec sections 2.4, 9.2). The
paper's: 0.05."""

from search_spaces import Space, numbers

Z_DEPTH = (0.05,)


def space(values: tuple[float, ...] | None = Z_DEPTH, low: float = 0.0, high: float = 0.5) -> Space:
    """`values` of z_depth; None: all of them from `low` to `high`."""
    return numbers("regularizer.stochastic_depth.z_depth", values, low, high)
