"""Semantic consistency, a toy of the paper's README: which W a recurrence learns that has only to
keep its state (spec section 7)."""

from sweeps.definition import Sweep
from sweeps.definitions import _rows
from sweeps.definitions._rows import Rows, Scale
from zoneout_core import tasks

ROWS: Rows = {"unregularized": {}, "zoneout": {"zoneout.z_states": 0.1}}
"""Without zoneout W stays near -I, which is right at every other step only. With zoneout only
W = +I is right."""
SCALES = {
    "smoke": Scale(values={"epochs": 1}),
    "small": Scale(values={"epochs": 60}),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """Two trials of 100 epochs, each of 1000 updates."""
    paper = Sweep(
        name="consistency",
        description=(
            "Semantic consistency: a linear recurrence on two units, with and without zoneout"
        ),
        base=tasks.get("semantic_consistency").config(),
        space=_rows.space(ROWS),
        threads=1,
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
