"""The plane of the paper's Figure 3: z_cells against z_states, every pair.

The grid is a choice of ours, since the paper does not print its own (spec section 2.4); it holds
the paper's best pair, 0.5 / 0.05, and the axes, where only one of the two is zoned out.
"""

from search_spaces import Product, Space, zoneout_cells, zoneout_states

Z_CELLS = (0.0, 0.05, 0.15, 0.25, 0.5, 0.75)
Z_STATES = (0.0, 0.05, 0.1, 0.15, 0.25, 0.5)


def space(
    z_cells: tuple[float, ...] | None = Z_CELLS, z_states: tuple[float, ...] | None = Z_STATES
) -> Space:
    """Every pair of the two lists; `None` in place of a list means the whole range."""
    return Product((zoneout_cells.space(z_cells), zoneout_states.space(z_states)))
