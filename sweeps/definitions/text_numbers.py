"""Numbers that the paper states only in its text: GRU and tanh-RNN with and without zoneout (spec
sections 1, 2.4)."""

from sweeps.definition import Sweep
from sweeps.definitions import _rows, table1_char
from sweeps.definitions._rows import Rows
from zoneout_core import tasks

Z_STATES = (0.05, 0.1, 0.15, 0.2, 0.25)
"""The text names this range, but not the best value in it."""
_CELLS = {
    "gru": {"cell": "gru", "learning_rate": 0.001, "offset": "zero"},
    "rnn": {"cell": "rnn", "learning_rate": 0.0003, "offset": "zero"},
}
"""Chunks do not overlap, so the offset is always 0."""
ROWS: Rows = {
    label + (f"-zoneout-{z:g}" if z else ""): values | ({"zoneout.z_states": z} if z else {})
    for label, values in _CELLS.items()
    for z in (0.0, *Z_STATES)
}
SCALES = table1_char.SCALES


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each cell and each z. At the paper's scale H=1000 and at most 110 epochs."""
    paper = Sweep(
        name="text_numbers",
        description=(
            "GRU and tanh-RNN of the paper's text: six values of z_states each, on Penn Treebank;"
            " wants a GPU"
        ),
        base=tasks.get("char_ptb").config(epochs=110),
        space=_rows.space(ROWS),
        lanes=4,
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
