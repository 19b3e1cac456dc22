"""Table 1 of the paper, words of Penn Treebank (spec sections 3, 9.6, 9.7, 11.1, 11.2)."""

from sweeps.definition import Sweep
from sweeps.definitions import _rows
from sweeps.definitions._rows import Rows, Scale
from zoneout_core import tasks
from zoneout_core.tasks.word_ptb import MEDIUM, SMALL


def _dropout(p: float) -> dict[str, object]:
    """Zaremba's dropout, at its three places."""
    return {
        "non_recurrent_dropout.p_inputs": p,
        "non_recurrent_dropout.p_between": p,
        "non_recurrent_dropout.p_outputs": p,
    }


ROWS: Rows = {
    "unregularized": SMALL,
    "nr-dropout": _dropout(0.65),
    "zoneout": _dropout(0.65) | {"zoneout.z_cells": 0.25, "zoneout.z_states": 0.025},
    "v-dropout": {
        "variational.p_sequence_words": 0.3,
        "variational.p_sequence_inputs": 0.5,
        "variational.p_sequence_states": 0.3,
        "variational.p_sequence_outputs": 0.5,
        "variational.mc_passes": 100,
        "weight_decay": 1e-7,
        "decay_after": 11,
    },
    "nr-dropout-medium": MEDIUM | _dropout(0.5),
}
"""The paper's unregularized row is Zaremba's small model; its zoneout is added to NR-dropout."""
SCALES = {
    "smoke": Scale(
        values={
            "hidden_size": 8,
            "embedding_size": 8,
            "sequence_length": 10,
            "epochs": 1,
            "train_fraction": 0.003,
            "eval_fraction": 0.01,
        },
        rows={"v-dropout": {"variational.mc_passes": 2}},
    ),
    "small": Scale(
        values={
            "hidden_size": 200,
            "embedding_size": 200,
            "sequence_length": 20,
            "epochs": 4,
            "train_fraction": 0.2,
            "eval_fraction": 0.2,
        },
        rows={"v-dropout": {"variational.mc_passes": 10}},
    ),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each row. At the paper's scale two layers of 1500 units (200 and 650 in Zaremba's
    smaller models)."""
    paper = Sweep(
        name="table1_word",
        description=(
            "Table 1 of the paper, words of Penn Treebank: a trial of each system; wants a GPU"
        ),
        base=tasks.get("word_ptb").config(),
        space=_rows.space(ROWS),
        lanes=2,
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
