"""The norm stabilizer in a pack."""

import pytest
import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.test_regularizers_in_packs import SIZES
from zoneout_core.tasks import Corpus
from zoneout_core.training.lane import Lane
from zoneout_core.training.workloads.language import Language


def test_the_norm_stabilizer_looks_at_the_carried_state_and_not_at_masked_outputs(
    tiny_corpus: Corpus,
) -> None:
    """Dropping outputs changes the state's norms only through what is learned: nothing in the first
    update."""
    losses = []
    for p_outputs in (0.0, 0.9):
        penalties = []
        for beta_norm in (0.0, 50.0):
            values = {
                "norm_of": "states",
                "beta_norm": beta_norm,
                "p_outputs": p_outputs,
                "precision": "float64",
            }
            config = TrialConfig().with_values(SIZES | values)
            workload = Language(config, tiny_corpus, torch.device("cpu"))
            row_P = workload.initial_row(config)
            lane = Lane(trial=0, config=config, epoch_updates=workload.epoch_updates(config))
            told = workload.gradients([lane], row_P[None], torch.zeros_like(row_P)[None])
            penalties.append(told[0]["loss"].item())
        losses.append(penalties[1] - penalties[0])
    assert losses[0] > 1e-4
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
