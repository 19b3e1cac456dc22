"""Random streams, each addressed by (trial seed, purpose, counter). No draw depends on an earlier
one.

A stream is re-seeded whenever it is used, so a resumed trial needs no generator state and a trial
draws the same numbers whatever its lane, its neighbours and their order (docs/architecture.md,
"Lanes are independent").
"""

import hashlib
from typing import Final

import torch

Purpose = str
"""A key of `PURPOSES`, or what `mask_purpose` makes of the stream of a mask."""

PURPOSES: Final[dict[Purpose, str]] = {
    "init": "initial parameters; the counter is how often the trial began anew",
    "masks_cells": "zoneout masks of the cells; the counter is the update",
    "masks_states": "zoneout masks of the hidden states; the counter is the update",
    "weight_noise": "noise on weight matrices; the counter is the update",
    "offset": "where an epoch starts to cut chunks; the counter is the epoch",
    "shuffle": "order of an epoch's chunks or examples; the counter is the epoch",
    "examples": "examples that a task draws; the counter is the update",
    "valid_examples": "the same, to validate on; the counter is their difficulty",
}
"""Every fixed purpose and what its counter counts. A new purpose never shifts the numbers of the
others."""

MASKS: Final = "masks_"
"""How the stream of a mask begins. Layer 0 trains on the stream itself: its name is the purpose."""


def mask_purpose(
    stream: str,
    layer: int,
    *,
    evaluation: bool = False,
    static: bool = False,
    block: int | None = None,
) -> Purpose:
    """The purpose of a mask that names `stream`, in one layer.

    Its counter is the update, in an evaluation the pass over the data, and for static masks the
    time step. block: the block of the data's places for which an evaluation draws
    (`zoneout_core.masking.places.Places`).
    """
    assert stream.startswith(MASKS), stream
    words = []
    if evaluation:
        words.append("evaluation")
    if static:
        words.append("static")
    words.append(stream)
    if layer > 0:
        words.append(f"layer{layer}")
    if block is not None:
        words.append(f"block{block}")
    return ".".join(words)


def stream_seed(trial_seed: int, purpose: Purpose, *, counter: int) -> int:
    """The seed of one stream, in [0, 2^63): BLAKE2b of the three parts, the same on every machine
    and version.

    PyTorch's CPU generator uses the low 32 bits, so among many million streams two will coincide by
    chance. Such a pair repeats one mask at an unrelated update, which no statistic can notice.
    """
    assert purpose in PURPOSES or any(part.startswith(MASKS) for part in purpose.split(".")), (
        purpose
    )
    digest = hashlib.blake2b(f"{trial_seed}/{purpose}/{counter}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(
    trial_seed: int, purpose: Purpose, *, counter: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on `device`, at the start of the stream. CPU and CUDA draw different numbers from
    it."""
    seed = stream_seed(trial_seed, purpose, counter=counter)
    return torch.Generator(device).manual_seed(seed)
