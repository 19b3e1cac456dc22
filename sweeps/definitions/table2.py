"""Table 2 and Figure 5 of the paper: permuted sequential MNIST, with and without batch norm (spec
section 5)."""

from sweeps.definition import Sweep
from sweeps.definitions import _rows
from sweeps.definitions._rows import Rows, Scale
from zoneout_core import tasks

ZONEOUT = {"zoneout.z_cells": 0.15, "zoneout.z_states": 0.15, "zoneout.zoneout_mask": "shared"}
"""On this task the paper uses one mask for cells and states."""
ROWS: Rows = {
    "unregularized": {},
    "recurrent-dropout": {"recurrent_dropout.p_recurrent": 0.5},
    "zoneout": ZONEOUT,
    "rbn": {"cell": "bn_lstm", "init": "identity", "epochs": 200},
    "rbn-zoneout": {"cell": "bn_lstm"} | ZONEOUT,
}
SCALES = {
    "smoke": Scale(
        values={
            "hidden_size": 8,
            "batch_size": 20,
            "sequence_length": 28,
            "epochs": 1,
            "train_fraction": 0.004,
            "eval_fraction": 0.01,
        },
    ),
    "small": Scale(
        values={
            "sequence_length": 196,
            "batch_size": 50,
            "epochs": 8,
            "train_fraction": 0.2,
            "eval_fraction": 0.2,
        },
        # Running statistics have to settle within few updates.
        rows={"rbn": {"cell.population_rate": 0.05}, "rbn-zoneout": {"cell.population_rate": 0.05}},
    ),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each row. At the paper's scale H=100 over 784 steps, for 150 epochs."""
    paper = Sweep(
        name="table2",
        description=(
            "Table 2 and Figure 5 of the paper: five systems on permuted sequential MNIST, 150"
            " epochs"
        ),
        base=tasks.get("sequential_mnist").config(),
        space=_rows.space(ROWS),
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
