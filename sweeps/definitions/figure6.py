"""Figure 6 of the paper: three systems after one epoch of permuted sequential MNIST (spec section
8.1).

A single epoch shows what is inherent in a system rather than what it learned for the task. `sweep
reproduce figure6` then measures how far the gradients reach back through time.
"""

from sweeps.definition import Sweep
from sweeps.definitions import _rows, table2
from sweeps.definitions._rows import Rows, Scale
from zoneout_core import tasks

ROWS: Rows = {
    "unregularized": {},
    "zoneout": {"zoneout.z_cells": 0.5},
    "dropout": {"naive_dropout.p_cells": 0.5},  # the naive dropout of recurrent connections
}
SCALES = {
    "smoke": table2.SCALES["smoke"],
    "small": Scale(values={"train_fraction": 0.1, "eval_fraction": 0.1}),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each system, with the settings of Table 2."""
    paper = Sweep(
        name="figure6",
        description=(
            "Figure 6 of the paper: three systems after one epoch of permuted sequential MNIST"
        ),
        base=tasks.get("sequential_mnist").config(epochs=1),
        space=_rows.space(ROWS),
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
