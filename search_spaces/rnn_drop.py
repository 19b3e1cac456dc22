"""rnnDrop: the probability that a cell is zero throughout a sequence (spec section 9.8). Its
authors': 0.25."""

from search_spaces import Space, numbers

P_RNN_DROP = (0.25,)


def space(
    values: tuple[float, ...] | None = P_RNN_DROP, low: float = 0.0, high: float = 0.6
) -> Space:
    """`values` of p_rnn_drop; None: all of them from `low` to `high`."""
    return numbers("regularizer.rnn_drop.p_rnn_drop", values, low, high)
