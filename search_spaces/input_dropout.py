"""Input dropout: the probability that a step's whole input is dropped (spec section 9.14).

Nothing was published about it: the values are ours.
"""

from search_spaces import Space, numbers

P_INPUT_STEPS = (0.05, 0.1, 0.2)


def space(
    values: tuple[float, ...] | None = P_INPUT_STEPS, low: float = 0.0, high: float = 0.5
) -> Space:
    """`values` of p_input_steps; None: all of them from `low` to `high`."""
    return numbers("regularizer.input_dropout.p_input_steps", values, low, high)
