"""Static identity connections: the paper's best zoneout with masks that never change (spec 8.2,
Figure 7)."""

from search_spaces import Choice, Product, Space, zoneout_cells, zoneout_states

EVALUATIONS = ("same", "code", "expectation")


def space(
    evaluations: tuple[str, ...] = EVALUATIONS,
    z_cells: tuple[float, ...] | None = (0.5,),
    z_states: tuple[float, ...] | None = (0.05,),
) -> Space:
    """Every z with each way to evaluate; `None` in place of a list of z means the whole range."""
    modes = Choice("regularizer.static_masks.static_masks", evaluations)
    return Product((modes, zoneout_cells.space(z_cells), zoneout_states.space(z_states)))
