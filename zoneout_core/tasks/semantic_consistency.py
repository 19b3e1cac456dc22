"""Semantic consistency: a linear recurrence that must leave its state alone (spec section 7). Draws
its examples.

W = -I solves it without zoneout, since ten sign flips cancel; with zoneout only W = +I is right.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from zoneout_core.records import CONSISTENCY
from zoneout_core.tasks import Generated, Task

START = {"start": -1.0, "noise": 0.01}
UPDATES = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recurrence(Generated):
    """h_k = d h_{k-1} + (1 - d) h_{k-1} W from x ~ N(0, I); the cost is the squared distance of the
    last h to x."""

    start: float
    """W starts at start * I + noise * N(0, 1)."""
    noise: float
    epoch_updates: int
    """Updates in an epoch."""


def load(_data_dir: Path, variant: str) -> Recurrence:
    """The numbers that define the recurrence; no file is read."""
    sha256 = hashlib.sha256(json.dumps(START | {"updates": UPDATES}).encode()).hexdigest()
    return Recurrence(
        name=TASK.name, variant=variant, sha256=sha256, epoch_updates=UPDATES, **START
    )


TASK = Task(
    name="semantic_consistency",
    description=(
        "A linear recurrence on two units that is to leave its state alone; draws its examples"
    ),
    variants=("linear",),
    workload="consistency",
    metrics=CONSISTENCY,
    settings={
        "hidden_size": 2,
        "sequence_length": 10,
        "batch_size": 32,
        "init_state": "zero",
        "optimizer": "sgd",
        "learning_rate": 1e-4,
        "clip_norm": float("inf"),
        "epochs": 100,
        "patience": 100,
    },
    load=load,
)
