"""Figure 7 of the paper: static identity connections, zoneout whose masks never change (spec
section 8.2)."""

from dataclasses import replace

from sweeps.definition import Sweep
from sweeps.definitions import _rows, table1_char
from sweeps.definitions._rows import Rows

ROWS: Rows = {
    f"static-{mode}": {
        "zoneout.z_cells": 0.5,
        "zoneout.z_states": 0.05,
        "static_masks.static_masks": mode,
    }
    for mode in ("same", "code", "expectation")
}
"""The mode is what an evaluation uses: the same masks; other masks, as the paper's code does;
expectations."""
SCALES = table1_char.SCALES


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each way to evaluate. Everything else is as in Table 1, whose zoneout and
    unregularized rows these are compared with."""
    paper = replace(
        table1_char.sweep(),
        name="figure7",
        description=(
            "Figure 7 of the paper: zoneout with static masks on Penn Treebank, evaluated in three"
            " ways"
        ),
        space=_rows.space(ROWS),
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
