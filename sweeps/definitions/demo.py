"""The sweep of `make demo`: a 3 x 3 corner of the plane in a few minutes, on text that comes with
Python."""

from search_spaces import zoneout_plane
from sweeps.definition import Sweep
from zoneout_core.config.trial import ModelConfig, OptimConfig, TrialConfig


def sweep() -> Sweep:
    """Nine trials of H=128 on Python's language reference, without a download."""
    return Sweep(
        name="demo",
        description=(
            "3 x 3 zoneout plane on Python's language reference; no download, takes minutes"
        ),
        base=TrialConfig(
            task="char_pydoc",
            model=ModelConfig(hidden_size=128),
            optim=OptimConfig(learning_rate=0.004),
            epochs=8,
        ),
        space=zoneout_plane.space(z_cells=(0.0, 0.25, 0.5), z_states=(0.0, 0.05, 0.25)),
        lanes=9,
        threads=1,
    )
