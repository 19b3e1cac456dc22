"""What the tests of the training core share: a small text that can be learned, and a small trial on
it."""

import numpy as np
import pytest

from zoneout_core.config.trial import TrialConfig
from zoneout_core.tasks import Corpus

SYMBOLS = "abcdefgh"


@pytest.fixture(scope="session")
def tiny_corpus() -> Corpus:
    """8 symbols: each is the one before it plus 1 or, one time in five, plus 3 (0.72 bits per
    character)."""
    leaps = np.random.default_rng(1).choice([1, 3], size=2600, p=[0.8, 0.2])
    text = (np.cumsum(leaps) % len(SYMBOLS)).astype(np.uint8)
    return Corpus(
        name="tiny",
        variant="leaps",
        train=text[:1150],
        valid=text[1200:1753],
        test=text[1800:],
        vocabulary=tuple(SYMBOLS),
        sha256="0" * 64,
    )


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
