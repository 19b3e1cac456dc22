"""Table 1 of the paper, characters of Penn Treebank (spec sections 2, 9, 11): every row, below the line too."""

from sweeps import rows
from sweeps.definition import Sweep
from sweeps.rows import Scale
from zoneout_core import tasks

ROWS = {
    "unregularized": {},
    "zoneout": {"z_cells": 0.5, "z_states": 0.05},
}
"""By label. Recurrent dropout: 0.25 is the text's best p; 0.3 and 0.7 are what its older text and README may mean."""
SCALES = {
    "smoke": Scale(values={"hidden": 16, "epochs": 1, "fraction": 0.002, "scored": 0.01}),
    "small": Scale(values={"hidden": 128, "epochs": 2, "fraction": 0.25}),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each row; at the paper's scale H=1000, at most 110 epochs, the best by validation kept."""
    whole = Sweep(
        name="table1_char",
        description="Table 1 of the paper, characters of Penn Treebank: one trial of each row; wants a GPU",
        base=tasks.get("char_ptb").config(epochs=110),
        space=rows.space(ROWS),
        lanes=4,
    )
    return rows.at_scale(whole, SCALES[scale], ROWS)
