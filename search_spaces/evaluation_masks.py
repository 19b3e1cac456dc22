"""Zoneout whose masks are drawn in evaluations too, as the toy's code does (spec section 12, row
28)."""

from search_spaces import Choice, Product, Space, zoneout_cells, zoneout_states


def space(
    z_cells: tuple[float, ...] | None = (0.5,), z_states: tuple[float, ...] | None = (0.05,)
) -> Space:
    """Every z, scored by one draw of its masks; `None` in place of a list means the whole range."""
    sampled = Choice("regularizer.evaluation_masks.evaluation_masks", ("sampled",))
    return Product((sampled, zoneout_cells.space(z_cells), zoneout_states.space(z_states)))
