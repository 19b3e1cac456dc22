"""Random streams addressed by (trial seed, purpose, step): nothing is carried from one draw to the
next.

A stream is re-seeded whenever it is used, so a resumed trial needs no generator state and a trial
draws the same numbers whatever its lane, its neighbours and their order (docs/architecture.md,
"Lanes are independent").
"""

import hashlib
from typing import Final

import torch

Purpose = str
"""A key of `PURPOSES`, or what `masks` makes of the stream of a mask."""

PURPOSES: Final[dict[Purpose, str]] = {
    "init": "initial parameters; step counts how often the trial began anew",
    "masks_cells": "zoneout masks of the cells; step is the update",
    "masks_states": "zoneout masks of the hidden states; step is the update",
    "weight_noise": "noise on weight matrices; step is the update",
    "offset": "where an epoch starts to cut chunks; step is the epoch",
    "shuffle": "order of an epoch's chunks or examples; step is the epoch",
    "examples": "examples that a task draws; step is the update",
    "valid_examples": "the same, to validate on; step is their difficulty",
}
"""Every fixed purpose and what its step counts. A new purpose never shifts the numbers of the
others."""

MASKS: Final = "masks_"
"""How the stream of a mask begins. Layer 0 trains on the stream itself: its name is the purpose."""


def masks(
    stream: str,
    layer: int,
    *,
    evaluation: bool = False,
    static: bool = False,
    block: int | None = None,
) -> Purpose:
    """The purpose of a mask that names `stream`, in one layer.

    Its step is the update; in an evaluation the pass over the data; of static masks the time step.
    block: which block of the data's places, where an evaluation draws for each place
    (`masks.Places`).
    """
    assert stream.startswith(MASKS), stream
    parts = (
        ["evaluation"] * evaluation
        + ["static"] * static
        + [stream]
        + [f"layer{layer}"] * (layer > 0)
    )
    return ".".join(parts if block is None else [*parts, f"block{block}"])


def stream_seed(trial_seed: int, purpose: Purpose, step: int) -> int:
    """The seed of one stream, in [0, 2^63): BLAKE2b of the three parts, the same on every machine
    and version.

    PyTorch's CPU generator uses the low 32 bits, so among many million streams two will coincide by
    chance; such a pair repeats one mask at an unrelated step, which no statistic can notice.
    """
    assert purpose in PURPOSES or any(part.startswith(MASKS) for part in purpose.split(".")), (
        purpose
    )
    digest = hashlib.blake2b(f"{trial_seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(
    trial_seed: int, purpose: Purpose, step: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on `device`, at the start of the stream. CPU and CUDA draw different numbers from
    it."""
    return torch.Generator(device).manual_seed(stream_seed(trial_seed, purpose, step))
