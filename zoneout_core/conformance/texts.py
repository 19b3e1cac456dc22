"""A small text that can be learned."""

import numpy as np

from zoneout_core.tasks import Corpus

SYMBOLS = "abcdefgh"


def ring() -> Corpus:
    """8 symbols: each is the previous one plus 1 or, one time in five, plus 3 (0.72 bits per
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
