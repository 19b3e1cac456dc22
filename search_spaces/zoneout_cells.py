"""Zoneout on cells: the probability that a cell keeps its previous value (spec section 9.1)."""

from search_spaces import Space, numbers


def space(values: tuple[float, ...] | None = None, low: float = 0.0, high: float = 0.9) -> Space:
    """`values` of z_cells, or all of them from `low` to `high`."""
    return numbers("regularizer.zoneout.z_cells", values, low, high)
