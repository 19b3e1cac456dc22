"""Recurrent dropout: the probability that an update is dropped (spec sections 2.4, 9.3).

These are the values that the paper tried. Its text finds 0.25 best; an older version of it, 0.7.
"""

from search_spaces import Space, numbers

P_RECURRENT = (0.05, 0.2, 0.25, 0.5, 0.7)


def space(
    values: tuple[float, ...] | None = P_RECURRENT, low: float = 0.0, high: float = 0.8
) -> Space:
    """`values` of p_recurrent; None: all of them from `low` to `high`."""
    return numbers("regularizer.recurrent_dropout.p_recurrent", values, low, high)
