"""Gal's variational dropout: a mask for a whole sequence (spec sections 9.7, 11.2).

The space has the two of his four probabilities that every model can use: those on the states and
on the outputs. Word types and inputs need an embedding; a definition adds theirs, 0.3 and 0.5.
"""

from search_spaces import Choice, Product, Space, numbers

P_STATES = (0.3,)
P_OUTPUTS = (0.5,)


def space(
    p_states: tuple[float, ...] | None = P_STATES, p_outputs: tuple[float, ...] | None = P_OUTPUTS
) -> Space:
    """Every pair, with a mask for each gate and with one for all; `None` in place of a list means
    the whole range."""
    return Product(
        (
            Choice("regularizer.variational.variational_masks", ("untied", "tied")),
            numbers("regularizer.variational.p_sequence_states", p_states, 0.0, 0.7),
            numbers("regularizer.variational.p_sequence_outputs", p_outputs, 0.0, 0.7),
        )
    )
