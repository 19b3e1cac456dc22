"""A walk on a ring of twelve symbols, mostly by one step and sometimes by three. Needs no files."""

from __future__ import annotations

from pathlib import Path

from zoneout_core.tasks import Corpus, Task, text_corpus

SYMBOLS = "abcdefghijkl"
STEPS = {"slow": (1, 1, 1, 1, 3), "fast": (1, 3, 3, 3, 3)}
"""By variant: what a step is drawn from."""


def load(_data_dir: Path, variant: str) -> Corpus:
    """8000 symbols to train on, 1000 to validate with, 1000 to test with."""
    import numpy as np

    steps = np.random.default_rng(0).choice(STEPS[variant], size=10_000)
    text = "".join(SYMBOLS[place] for place in np.cumsum(steps) % len(SYMBOLS))
    return text_corpus("ring_walk", variant, text[:8000], text[8000:9000], text[9000:])


TASK = Task(
    name="ring_walk",
    description="A walk on a ring of twelve symbols; needs no files",
    variants=tuple(STEPS),
    load=load,
    workload="warm_language",
    settings={"sequence_length": 20, "batch_size": 16},
)
