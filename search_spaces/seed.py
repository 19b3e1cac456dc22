"""Seeds: the same hyperparameters, repeated. Each (assignment, seed) is a trial of its own."""

from search_spaces import Choice, Space


def space(values: tuple[int, ...] = (0, 1, 2)) -> Space:
    """One trial per seed in `values`."""
    return Choice("seed", values)
