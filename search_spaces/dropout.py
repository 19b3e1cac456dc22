"""Zaremba's dropout on non-recurrent connections: one probability at all places (spec sections 3,
9.6, 11.1)."""

from search_spaces import Choice, Product, Space, Switch

PLACES = (
    "regularizer.non_recurrent_dropout.p_inputs",
    "regularizer.non_recurrent_dropout.p_between",
    "regularizer.non_recurrent_dropout.p_outputs",
)
P_DROPOUT = (0.5, 0.65)
"""The probabilities of the models with 650 and with 1500 units."""


def space(values: tuple[float, ...] = P_DROPOUT) -> Space:
    """One of `values` at the inputs, between the layers and before the softmax."""
    first, *others = PLACES
    return Switch(
        first, tuple((p, Product(tuple(Choice(place, (p,)) for place in others))) for p in values)
    )
