"""The paper's model on the real text, for the first updates of an epoch."""

from itertools import pairwise
from math import log
from pathlib import Path

import pytest

from zoneout_core.config.trial import TrialConfig
from zoneout_core.tasks import load_data
from zoneout_core.training.pack import Pack

UPDATES = 25


@pytest.mark.needs_ptb
def test_the_papers_lstm_begins_at_chance_and_learns(data_dir: Path) -> None:
    """H = 1000 with the paper's best zoneout: the loss begins at ln 50 nats and falls towards that
    of the letters."""
    config = TrialConfig().with_values({"z_cells": 0.5, "z_states": 0.05})
    pack = Pack(config, load_data("char_ptb", "446k", data_dir), capacity=1)
    pack.admit(0, config)
    assert pack.layout.size >= 4_256_050
    sums = [0.0]
    for _ in range(UPDATES):
        assert pack.update() == []
        sums.append(pack.state(0).sums["nll"])
    losses = [after - before for before, after in pairwise(sums)]
    assert losses[0] == pytest.approx(log(50), abs=0.1)
    assert sum(losses[-5:]) / 5 < 2.9
