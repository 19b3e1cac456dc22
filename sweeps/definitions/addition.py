"""The sequence-to-sequence toy of the paper's code: decimal addition with a curriculum (spec
section 6)."""

from sweeps.definition import Sweep
from sweeps.definitions import _rows
from sweeps.definitions._rows import Rows, Scale
from zoneout_core import tasks

ROWS: Rows = {
    "unregularized": {},
    "zoneout-script": {"zoneout.z_cells": 0.05},  # the script's value, whatever its flags say
    "zoneout": {"zoneout.z_cells": 0.5, "zoneout.z_states": 0.05},  # the README's values
}
SCALES = {
    "smoke": Scale(values={"hidden_size": 8, "epochs": 1}),
    "small": Scale(values={"hidden_size": 64, "epochs": 5}),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """Five seeds of each system for 40 epochs: since training may start over, a single run says
    little."""
    paper = Sweep(
        name="addition",
        description="Learning to add, with a curriculum: with and without zoneout, five seeds",
        base=tasks.get("addition").config(),
        space=_rows.space(ROWS),
        seeds=(0, 1, 2, 3, 4),
        threads=1,
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
