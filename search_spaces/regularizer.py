"""The regularizer itself as a choice: each brings the settings that only it has (spec section 2.4).

Define-by-run: a trial first draws its label, and then a point of that label's space.
"""

from search_spaces import (
    NOTHING,
    Space,
    Switch,
    dropout,
    gaussian_masks,
    input_dropout,
    naive_dropout,
    norm_stabilizer,
    output_gate,
    recurrent_dropout,
    rnn_drop,
    static_masks,
    stochastic_depth,
    surprisal,
    variational,
    weight_noise,
    zoneout_plane,
)

SPACES: dict[str, Space] = {
    "unregularized": NOTHING,
    "zoneout": zoneout_plane.space((0.5,), (0.05,)),
    "stochastic-depth": stochastic_depth.space(),
    "recurrent-dropout": recurrent_dropout.space(),
    "weight-noise": weight_noise.space(),
    "norm-stabilizer": norm_stabilizer.space(),
    "dropout": dropout.space(),
    "variational": variational.space(),
    "rnn-drop": rnn_drop.space(),
    "naive-dropout": naive_dropout.space(),
    "output-gate": output_gate.space(),
    "static-masks": static_masks.space(),
    "gaussian-masks": gaussian_masks.space(),
    "input-dropout": input_dropout.space(),
    "surprisal": surprisal.space(),
}
"""By label, at the paper's values."""


def space(labels: tuple[str, ...] = tuple(SPACES)) -> Space:
    """One of the regularizers in `labels`, each with its own space."""
    return Switch("label", tuple((label, SPACES[label]) for label in labels))
