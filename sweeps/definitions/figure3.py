"""The paper's Figure 3 (left): validation BPC over z_cells and z_states on Penn Treebank, at the paper's size."""

from search_spaces import zoneout_plane
from sweeps.definition import Sweep
from zoneout_core.config import TrialConfig


def sweep() -> Sweep:
    """36 cells of H=1000 for 30 epochs, one seed; `--set seeds=0,1,2` repeats the plane."""
    return Sweep(
        name="figure3",
        description="Figure 3 of the paper: the 6 x 6 zoneout plane, H=1000, 30 epochs on Penn Treebank; wants a GPU",
        base=TrialConfig(task="char_ptb", epochs=30),
        space=zoneout_plane.space(),
        lanes=4,
    )
