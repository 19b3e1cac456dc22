"""Zoneout with Gaussian masks, at the paper's best probabilities (spec section 9.13)."""

from search_spaces import Choice, Product, Space, zoneout_cells, zoneout_states


def space(
    z_cells: tuple[float, ...] | None = (0.5,), z_states: tuple[float, ...] | None = (0.05,)
) -> Space:
    """Every z with masks that are real numbers; `None` in place of a list means the whole range."""
    gaussian = Choice("regularizer.gaussian_masks.gaussian_masks", (True,))
    return Product((gaussian, zoneout_cells.space(z_cells), zoneout_states.space(z_states)))
