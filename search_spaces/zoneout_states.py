"""Zoneout on states: the probability that a hidden state keeps its previous value (spec section
9.1).

The paper finds low values, 0.05 to 0.2, best.
"""

from search_spaces import Space, numbers


def space(values: tuple[float, ...] | None = None, low: float = 0.0, high: float = 0.5) -> Space:
    """`values` of z_states, or all of them from `low` to `high`."""
    return numbers("regularizer.zoneout.z_states", values, low, high)
