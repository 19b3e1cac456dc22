"""Every cell trains the same in a pack as alone."""

from math import isfinite

import pytest
import torch

from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects
from zoneout_core.conformance.packs import admitted, records
from zoneout_core.tasks import Corpus

SIZES = {
    "hidden_size": 6,
    "batch_size": 4,
    "sequence_length": 11,
    "epochs": 2,
    "train_fraction": 0.3,
    "eval_fraction": 0.2,
}
UPDATES = 2


def configs(cell: str) -> list[TrialConfig]:
    """Two trials with one shape key."""
    return [
        TrialConfig().with_values(
            SIZES | {"cell": cell, "seed": seed, "learning_rate": 0.01 * (1 + seed)}
        )
        for seed in (0, 1)
    ]


@pytest.mark.parametrize("cell", subjects("zoneout_core.cells"))
def test_a_lane_is_what_it_is_alone(cell: str, tiny_corpus: Corpus) -> None:
    """After some updates the weights of a lane are those that it has alone, to the bit."""
    together = admitted(configs(cell), tiny_corpus)
    solos = [admitted([config], tiny_corpus) for config in configs(cell)]
    for pack in (together, *solos):
        for _ in range(UPDATES):
            pack.update()
    for trial, solo in enumerate(solos):
        assert torch.equal(together.state(trial).weights, solo.state(0).weights)


@pytest.mark.parametrize("cell", subjects("zoneout_core.cells"))
def test_it_trains_to_the_end(cell: str, tiny_corpus: Corpus) -> None:
    """A small trial records finite metrics in every epoch, and final metrics after the last."""
    for trial_records in records(configs(cell), tiny_corpus):
        assert [record.final is None for record in trial_records] == [True, False]
        for record in trial_records:
            assert all(isfinite(value) for value in record.metrics.values())
