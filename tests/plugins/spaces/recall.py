"""Recall dropout: its probability."""

from search_spaces import Space, numbers


def space(values: tuple[float, ...] | None = (0.0, 0.2)) -> Space:
    """`values` of p_recall, or all of them from 0 to 0.5."""
    return numbers("regularizer.recall_dropout.p_recall", values, 0.0, 0.5)
