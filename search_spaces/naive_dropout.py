"""Naive dropout of the cells, which Figure 6 compares zoneout with (spec sections 8.1, 9.4). The
paper's: 0.5."""

from search_spaces import Space, numbers

P_CELLS = (0.5,)


def space(values: tuple[float, ...] | None = P_CELLS, low: float = 0.0, high: float = 0.6) -> Space:
    """`values` of p_cells; None: all of them from `low` to `high`."""
    return numbers("regularizer.naive_dropout.p_cells", values, low, high)
