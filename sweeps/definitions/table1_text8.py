"""Table 1 of the paper, text8 (spec sections 4, 9, 11)."""

from sweeps.definition import Sweep
from sweeps.definitions import _rows
from sweeps.definitions._rows import Rows, Scale
from zoneout_core import tasks

ROWS: Rows = {
    "unregularized": {},
    "weight-noise": {"weight_noise.sigma_weights": 0.075},
    "norm-stabilizer": {"norm_stabilizer.beta_norm": 50.0},
    "stochastic-depth": {"stochastic_depth.z_depth": 0.05},
    "recurrent-dropout": {"recurrent_dropout.p_recurrent": 0.5},
    "zoneout": {"zoneout.z_cells": 0.5, "zoneout.z_states": 0.05},
    # The README's values, which it warns of itself.
    "zoneout-0.2": {"zoneout.z_cells": 0.2, "zoneout.z_states": 0.2},
    "rbn": {"cell": "bn_lstm", "cell.population_rate": 0.05, "init": "orthogonal", "epochs": 50},
    "hm-lstm": {
        "cell": "hm_lstm",
        "hidden_size": 1024,
        "embedding_size": 128,
        "cell.hm_output": 2048,
        "cell.slope_growth": 0.0,
        "offset": "zero",
        "carry": "zero",
        "schedule": "plateau",
        "decay_factor": 50.0,
    },
}
"""Strengths that Table 1 does not state for text8 are those of Penn Treebank's characters;
recurrent dropout's is the README's."""
SCALES = {
    "smoke": Scale(
        values={
            "hidden_size": 16,
            "batch_size": 8,
            "sequence_length": 50,
            "epochs": 1,
            "train_fraction": 5e-5,
            "eval_fraction": 4e-4,
        },
        rows={"hm-lstm": {"embedding_size": 8, "cell.hm_output": 16}},
    ),
    "small": Scale(
        values={"hidden_size": 128, "epochs": 1, "train_fraction": 0.02, "eval_fraction": 0.02},
        rows={"hm-lstm": {"embedding_size": 32, "cell.hm_output": 128}},
    ),
    "paper": Scale(),
}


def sweep(scale: str = "paper") -> Sweep:
    """A trial of each row. At the paper's scale H=2000 on 90 million characters: the largest
    experiment of the paper."""
    paper = Sweep(
        name="table1_text8",
        description=(
            "Table 1 of the paper, text8: a trial of each system, H=2000; wants days of a GPU"
        ),
        base=tasks.get("text8").config(),
        space=_rows.space(ROWS),
        lanes=2,
    )
    return _rows.at_scale(paper, SCALES[scale], ROWS)
