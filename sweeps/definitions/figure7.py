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
"""By what stands for the masks in an evaluation: the same masks; others, as the code does it;
expectations."""
SCALES = table1_char.SCALES


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each way to evaluate; all else as in Table 1, whose zoneout and unregularized rows
    they meet."""
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
