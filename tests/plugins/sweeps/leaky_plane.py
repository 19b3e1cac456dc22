"""Recall dropout against zoneout, for a leaky recurrent network on the ring walk."""

from search_spaces import Product, zoneout_states
from sweeps.definition import Sweep
from zoneout_core import tasks

from ..spaces import recall


def sweep() -> Sweep:
    """Four trials, in seconds."""
    base = tasks.get("ring_walk").config(
        cell="leaky_rnn", activation="softsign", hidden_size=16, epochs=3
    )
    return Sweep(
        name="leaky_plane",
        description="Recall dropout against zoneout, for a leaky network on a ring walk",
        base=base,
        space=Product((zoneout_states.space((0.0, 0.1)), recall.space())),
        x_axis="regularizer.recall_dropout.p_recall",
        y_axis="regularizer.zoneout.z_states",
        lanes=4,
        threads=1,
    )
