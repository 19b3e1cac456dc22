"""Random streams addressed by (trial seed, purpose, step): nothing is carried from one draw to the next.

A stream is re-seeded whenever it is used, so a resumed trial needs no generator state and a trial draws the same
numbers whatever its lane, its neighbours and their order (docs/architecture.md, "Lanes are independent").
"""

import hashlib
from typing import Final, Literal

import torch

Purpose = Literal["init", "masks_cells", "masks_states", "offset", "shuffle"]

PURPOSES: Final[dict[Purpose, str]] = {
    "init": "initial parameters; step is always 0",
    "masks_cells": "zoneout masks of the cells; step is the update",
    "masks_states": "zoneout masks of the hidden states; step is the update",
    "offset": "where an epoch starts to cut chunks; step is the epoch",
    "shuffle": "order of an epoch's chunks; step is the epoch",
}
"""Every purpose and what its step counts. A new purpose never shifts the numbers of the others."""


def stream_seed(trial_seed: int, purpose: Purpose, step: int) -> int:
    """The seed of one stream, in [0, 2^63): BLAKE2b of the three parts, the same on every machine and version.

    PyTorch's CPU generator uses the low 32 bits, so among many million streams two will coincide by chance;
    such a pair repeats one mask at an unrelated step, which no statistic can notice.
    """
    assert purpose in PURPOSES, purpose
    digest = hashlib.blake2b(f"{trial_seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(trial_seed: int, purpose: Purpose, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device`, at the start of the stream. CPU and CUDA draw different numbers from it."""
    return torch.Generator(device).manual_seed(stream_seed(trial_seed, purpose, step))
