"""Adam's learning rate, on a logarithmic scale around the paper's 0.002 (spec section 2.3)."""

from search_spaces import Space, numbers


def space(values: tuple[float, ...] | None = None, low: float = 1e-4, high: float = 1e-2) -> Space:
    """`values` of the learning rate, or all of them from `low` to `high`."""
    return numbers("optim.learning_rate", values, low, high, log=True)
