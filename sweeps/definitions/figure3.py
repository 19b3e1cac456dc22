"""The paper's Figure 3 (left): validation BPC over z_cells and z_states on Penn Treebank, at the
paper's size."""

from dataclasses import replace

from search_spaces import zoneout_plane
from sweeps.definition import Sweep
from sweeps.definitions import _rows, table1_char
from sweeps.definitions._rows import Scale
from zoneout_core.config.trial import TrialConfig

SCALES = {
    "smoke": table1_char.SCALES["smoke"],
    "small": Scale(values={"hidden_size": 128, "epochs": 1}),  # that of `figure3_small`
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """36 cells of H=1000 for 30 epochs, one seed; `--set seeds=0,1,2` repeats the plane. Smaller
    scales have 9."""
    paper = Sweep(
        name="figure3",
        description=(
            "Figure 3 of the paper: the 6 x 6 zoneout plane, H=1000, 30 epochs on Penn Treebank;"
            " wants a GPU"
        ),
        base=TrialConfig(task="char_ptb", epochs=30),
        space=zoneout_plane.space(),
        lanes=4,
    )
    if scale != _rows.PAPER:
        paper = replace(
            paper, space=zoneout_plane.space(z_cells=(0.0, 0.25, 0.5), z_states=(0.0, 0.05, 0.25))
        )
    return _rows.at_scale(paper, SCALES[scale])
