"""The regularizer itself as a choice: each brings the settings that only it has (spec section 2.4).

Define-by-run: a trial first draws its label, and then what the space of that label asks for.
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
    "stochastic_depth": stochastic_depth.space(),
    "recurrent_dropout": recurrent_dropout.space(),
    "weight_noise": weight_noise.space(),
    "norm_stabilizer": norm_stabilizer.space(),
    "dropout": dropout.space(),
    "variational": variational.space(),
    "rnn_drop": rnn_drop.space(),
    "naive_dropout": naive_dropout.space(),
    "output_gate": output_gate.space(),
    "static_masks": static_masks.space(),
    "gaussian_masks": gaussian_masks.space(),
    "input_dropout": input_dropout.space(),
    "surprisal": surprisal.space(),
}
"""By label, at the paper's values."""


def space(labels: tuple[str, ...] = tuple(SPACES)) -> Space:
    """One of the regularizers in `labels`, each with its own space."""
    return Switch("label", tuple((label, SPACES[label]) for label in labels))
