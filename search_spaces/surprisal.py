"""Surprisal-driven zoneout: the probability of an update where nothing surprises (spec section
9.15).

Its authors take 0.2. The space also sets the cell, since no other computes surprisal.
"""

from search_spaces import Choice, Product, Space, numbers

TAU = (0.2,)


def space(values: tuple[float, ...] | None = TAU, low: float = 0.05, high: float = 0.8) -> Space:
    """`values` of tau, evaluated both ways; None: all of them from `low` to `high`."""
    cell = Choice("model.cell", ("surprisal_lstm",))
    evaluations = Choice("regularizer.surprisal.surprisal_masks", ("expected", "sampled"))
    return Product((cell, evaluations, numbers("cell.tau", values, low, high)))
