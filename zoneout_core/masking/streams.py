"""Random streams, each addressed by (trial seed, purpose, counter). No draw depends on an earlier
one.

A stream is seeded whenever it is used. So a resumed trial needs no generator state, and a trial
draws the same numbers in every lane, whatever its neighbours and their order (docs/architecture.md,
"Lanes are independent").
"""

import hashlib
from typing import Final

import torch

Purpose = str
"""A key of `PURPOSES`, or the result of `mask_purpose` for the stream of a mask."""

PURPOSES: Final[dict[Purpose, str]] = {
    "init": "initial parameters; the counter is the number of restarts of the trial",
    "masks_cells": "zoneout masks of the cells; the counter is the update",
    "masks_states": "zoneout masks of the hidden states; the counter is the update",
    "weight_noise": "noise on weight matrices; the counter is the update",
    "offset": "where an epoch starts to cut chunks; the counter is the epoch",
    "shuffle": "order of an epoch's chunks or examples; the counter is the epoch",
    "examples": "examples that a task draws; the counter is the update",
    "valid_examples": "examples to validate on; the counter is their difficulty",
}
"""Every fixed purpose and what its counter counts. A new purpose never shifts the numbers of the
others."""

MASKS: Final = "masks_"
"""The prefix of the streams of masks. In training, layer 0 uses the name itself as its purpose."""


def mask_purpose(
    stream: str,
    layer: int,
    *,
    evaluation: bool = False,
    static: bool = False,
    block: int | None = None,
) -> Purpose:
    """The purpose of a mask with this stream, in one layer.

    Its counter is the update; in an evaluation, the pass over the data; for static masks, the time
    step. block: the block of places for which an evaluation draws
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
    """The seed of one stream, in [0, 2^63): BLAKE2b of the three arguments, the same on every
    machine and version.

    PyTorch's CPU generator uses the low 32 bits, so among many millions of streams two will
    coincide by chance. Such a pair repeats a mask at an unrelated update, which no statistic can
    show.
    """
    assert purpose in PURPOSES or any(part.startswith(MASKS) for part in purpose.split(".")), (
        purpose
    )
    digest = hashlib.blake2b(f"{trial_seed}/{purpose}/{counter}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(
    trial_seed: int, purpose: Purpose, *, counter: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on `device`, at the start of the stream. CPU and CUDA draw different numbers with
    the same seed."""
    seed = stream_seed(trial_seed, purpose, counter=counter)
    return torch.Generator(device).manual_seed(seed)
