"""The two evaluation protocols of character tasks (spec section 2.5), in bits per character, masks as expected.

`chunked`: chunks of L characters from the text's start, each from (h_0, c_0), L - 1 predictions a chunk.
`stream`: one pass over the whole text with the state carried, N - 1 predictions.

Both work on several lanes at once and give each lane the same bits as alone: batch sizes
follow from the text, never from the number of lanes. Sums are float64.
"""

from collections.abc import Mapping
from math import log

import torch
from torch import Tensor

from zoneout_core.batches import cut
from zoneout_core.model import Masks, Model

WARMUP = 1000
"""Characters that a parallel segment of a stream reads before its first prediction counts."""
SEGMENTS = 128
"""Parallel segments of a long stream; more are faster and read more characters twice."""
STEPS = 100
"""Time steps of a stream that are evaluated between two looks at its state. No number depends on it."""
CHUNKS = 128
"""Chunks of a text that are evaluated together."""


@torch.no_grad()
def chunked(model: Model, parameters: Mapping[str, Tensor], masks: Masks, text_N: Tensor) -> list[float]:
    """Bits per character of each lane over the text's whole chunks, of the task's own length, from (h_0, c_0).

    Characters after the last whole chunk are not scored (as in training).
    """
    length = model.config.length
    starts = torch.arange(0, len(text_N) - length + 1, length, device=text_N.device)
    sums = [0.0] * len(parameters["b_G"])
    for starts_B in starts.split(CHUNKS):
        inputs_KTB, targets_KTB = cut(text_N, starts_B.expand(len(sums), -1), length)
        nlls, _ = model.nll(parameters, inputs_KTB, targets_KTB, model.initial_state(parameters), masks)
        sums = [total + nll_TB.double().sum().item() for total, nll_TB in zip(sums, nlls, strict=True)]
    return [total / (len(starts) * (length - 1)) / log(2) for total in sums]


@torch.no_grad()
def stream(
    model: Model,
    parameters: Mapping[str, Tensor],
    masks: Masks,
    text_N: Tensor,
    *,
    segments: int | None = None,
    warmup: int = WARMUP,
    steps: int = STEPS,
) -> list[float]:
    """Bits per character of each lane over one pass through the text, N - 1 predictions.

    For speed the text is read in parallel segments, each warmed up on the `warmup` characters before it;
    `segments=1` is the exact pass. Without a number there are as many as the text is worth, at most `SEGMENTS`.
    """
    predictions = len(text_N) - 1
    segments = segments or max(1, min(SEGMENTS, predictions // (2 * warmup)))
    scored = -(-(predictions - warmup) // segments)
    # Segment s reads the `warmup + scored` characters from s * scored on. The first has nothing before it, scores
    # all of them, and so lines up with the others; the last may reach beyond the text.
    starts_1S = torch.arange(segments, device=text_N.device).unsqueeze(0) * scored
    sums = [0.0] * len(parameters["b_G"])
    state = model.initial_state(parameters)
    for first in range(0, warmup + scored, steps):
        within_T1 = torch.arange(first, min(first + steps, warmup + scored), device=text_N.device).unsqueeze(1)
        positions_TS = starts_1S + within_T1
        counts_TS = (positions_TS < predictions) & ((within_T1 >= warmup) | (starts_1S == 0))
        positions_TS = positions_TS.clamp(max=predictions - 1)
        inputs_KTS = text_N[positions_TS].long().expand(len(sums), -1, -1)
        targets_KTS = text_N[positions_TS + 1].long().expand(len(sums), -1, -1)
        nlls, state = model.nll(parameters, inputs_KTS, targets_KTS, state, masks)
        sums = [
            total + nll_TS.double().masked_fill(~counts_TS, 0.0).sum().item()
            for total, nll_TS in zip(sums, nlls, strict=True)
        ]
    return [total / predictions / log(2) for total in sums]
