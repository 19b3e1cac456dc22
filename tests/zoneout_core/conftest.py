"""What the tests of the training core share: a small text that can be learned, and a small trial on
it."""

import pytest

from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.texts import ring
from zoneout_core.tasks import Corpus


@pytest.fixture(scope="session")
def tiny_corpus() -> Corpus:
    """See `texts.ring`."""
    return ring()


@pytest.fixture(scope="session")
def tiny_config() -> TrialConfig:
    """14 updates an epoch, the last with one chunk of the four; sizes that fill no vector
    register."""
    values = {
        "hidden_size": 13,
        "batch_size": 4,
        "sequence_length": 21,
        "epochs": 3,
        "z_cells": 0.5,
        "z_states": 0.05,
        "seed": 5,
    }
    return TrialConfig().with_values(values)
