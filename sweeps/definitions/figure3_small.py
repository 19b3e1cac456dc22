"""Figure 3 on a small scale: the real Penn Treebank, H=128, one epoch, 3 x 3 cells. Its numbers are
not the paper's."""

from dataclasses import replace

from search_spaces import zoneout_plane
from sweeps.definition import Sweep
from sweeps.definitions import figure3
from zoneout_core.config.trial import ModelConfig


def sweep() -> Sweep:
    """Nine trials, a few minutes on a CPU."""
    paper = figure3.sweep()
    return replace(
        paper,
        name="figure3_small",
        description=(
            "Figure 3 on a small scale: 3 x 3 cells, H=128, one epoch of Penn Treebank; takes"
            " minutes"
        ),
        base=replace(paper.base, model=ModelConfig(hidden_size=128), epochs=1),
        space=zoneout_plane.space(z_cells=(0.0, 0.25, 0.5), z_states=(0.0, 0.05, 0.25)),
        lanes=9,
        threads=1,
    )
