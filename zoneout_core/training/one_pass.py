"""The score of one pass through a text with the state carried: N - 1 predictions (spec sections
2.5, 3 and 9.7).

For speed a text is read in parallel segments, each warmed up on the symbols before it. Each lane is
then checked: the state in which a warmed-up segment began to score is compared with the state that
the previous segment reached there. If they differ, all segments of that lane are read again, each
from where the previous one ended, until they agree. If that does not help, the lane reads the text
in one piece, which is exact.

No lane changes a bit of another: all lanes read together once, and then each alone.
"""

from collections.abc import Sequence
from math import inf, isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core.training.evaluate import Reader
from zoneout_core.training.segments import (
    Cut,
    SegmentScores,
    handed_on,
    of_lane,
    pieces,
    read_segments,
)

WARMUP = 1000
"""Symbols that a segment reads before its first prediction counts."""
STEPS = 100
"""Time steps that are evaluated at a time. No number depends on it."""
STATE_TOLERANCE = 1e-3
"""The largest difference of tanh of two states in any unit. (Cells at 50 and at 100 act alike.)"""
SCORE_TOLERANCE = 1e-4
"""The largest mean difference between the scores of predictions from the two states, in nats."""
PROBE = 100
"""Predictions at the start of each segment over which this difference is measured."""


class Score(NamedTuple):
    """The score of one lane."""

    nats: float
    """Mean NLL of a prediction."""
    uncertainty: float
    """An estimate of the error of the mean, in nats: the mean change of the first `PROBE`
    predictions of the segments when each is read from where the previous one ended. The change
    fades along a segment, so the error of the mean is smaller. Zero if the text was read in one
    piece."""


@torch.no_grad()
def stream(
    reader: Reader,
    text_N: Tensor,
    *,
    segments: int | None = None,
    warmup: int = WARMUP,
    steps: int = STEPS,
) -> list[Score]:
    """The score of each lane. With `segments=1` each text is read in one piece."""
    scores = []
    for cut, nlls_TS, uncertainty in _read(reader, text_N, segments, warmup, steps):
        total = 0.0
        for first, last in pieces(0, cut.warmup, steps) + pieces(cut.warmup, cut.steps, steps):
            counts_TS = cut.positions(first, last, text_N.device)[1]
            total += nlls_TS[first:last].double().masked_fill(~counts_TS, 0.0).sum().item()
        scores.append(Score(total / cut.predictions, uncertainty))
    return scores


@torch.no_grad()
def averaged(readers: Sequence[Reader], text_N: Tensor) -> list[Score]:
    """The score of each lane when the *probabilities* of all readers are averaged (MC dropout, spec
    9.7). Its uncertainty is the largest of the readers'."""
    total_KN = torch.zeros(
        readers[0].lanes, len(text_N) - 1, dtype=torch.float64, device=text_N.device
    )
    uncertainties = [0.0] * readers[0].lanes
    for reader in readers:
        for k, (cut, nlls_TS, uncertainty) in enumerate(_read(reader, text_N, None, WARMUP, STEPS)):
            positions_TS, counts_TS = cut.positions(0, cut.steps, text_N.device)
            total_KN[k, positions_TS[counts_TS]] += nlls_TS[counts_TS].double().neg().exp()
            uncertainties[k] = max(uncertainties[k], uncertainty)
    nats = [-(row_N / len(readers)).log().mean().item() for row_N in total_KN]
    return [Score(*pair) for pair in zip(nats, uncertainties, strict=True)]


def _read(
    reader: Reader, text_N: Tensor, segments: int | None, warmup: int, steps: int
) -> list[tuple[Cut, Tensor, float]]:
    """For each lane: the cut of its text, the NLL of every prediction [T, S], and the uncertainty
    of their mean."""
    cut = Cut.of(text_N, segments, warmup)
    warm, began = read_segments(reader, text_N, cut, reader.start(), 0, cut.warmup, steps)
    nlls, ended = read_segments(reader, text_N, cut, began, cut.warmup, cut.steps, steps)
    all_nlls = [torch.cat(parts) for parts in zip(warm, nlls, strict=True)]
    began = tuple(tuple(state.expand(-1, cut.segments, -1) for state in layer) for layer in began)
    first = SegmentScores(cut, all_nlls, began, ended)
    distances, uncertainties = _compare(reader, text_N, first, steps)
    lanes = []
    results = zip(all_nlls, distances, uncertainties, strict=True)
    for k, (nlls_TS, distance, uncertainty) in enumerate(results):
        # Reading again cannot help a network that overflows.
        if distance <= 1 or not isfinite(float(nlls_TS.sum())):
            lanes.append((cut, nlls_TS, uncertainty))
        else:
            lanes.append(_read_again(reader.alone(k), text_N, of_lane(first, k), distance, steps))
    return lanes


def _read_again(
    reader: Reader, text_N: Tensor, reading: SegmentScores, distance: float, steps: int
) -> tuple[Cut, Tensor, float]:
    """Read one lane again, as long as each reading halves the distance between the states in which
    segments began and those in which the previous ones ended, and then in one piece."""
    cut = reading.cut
    previous_distance = inf
    while distance <= previous_distance / 2:
        began = handed_on(reading)
        (nlls_TS,), ended = read_segments(reader, text_N, cut, began, cut.warmup, cut.steps, steps)
        all_TS = torch.cat([reading.nlls[0][: cut.warmup], nlls_TS])
        reading = SegmentScores(cut, [all_TS], began, ended)
        previous_distance = distance
        (distance,), (uncertainty,) = _compare(reader, text_N, reading, steps)
        if distance <= 1:
            return cut, all_TS, uncertainty
    (exact,) = _read(reader, text_N, 1, 0, steps)
    return exact


def _compare(
    reader: Reader, text_N: Tensor, reading: SegmentScores, steps: int
) -> tuple[list[float], list[float]]:
    """For each lane the distance between the states in which its segments began and those in which
    the previous ones ended (at most 1 = close enough), and the resulting uncertainty."""
    if reading.cut.scoring < 2:
        return [0.0] * reader.lanes, [0.0] * reader.lanes
    states = _state_differences(reading)
    scores = _score_differences(reader, text_N, reading, steps)
    distances = []
    for state, score in zip(states, scores, strict=True):
        if isfinite(state) and isfinite(score):
            distances.append(max(state / STATE_TOLERANCE, score / SCORE_TOLERANCE))
        else:
            distances.append(inf)
    return distances, scores


def _state_differences(reading: SegmentScores) -> list[float]:
    """For each lane the largest difference of tanh of the two states in any unit."""
    last = reading.cut.scoring - 1
    largest = []
    for layer_began, layer_ended in zip(reading.began, reading.ended, strict=True):
        for began_KSU, ended_KSU in zip(layer_began, layer_ended, strict=True):
            difference = began_KSU[:, 1 : last + 1].tanh() - ended_KSU[:, :last].tanh()
            largest.append(difference.abs().amax(dim=(1, 2)).double())
    return torch.stack(largest).amax(dim=0).tolist()


def _score_differences(
    reader: Reader, text_N: Tensor, reading: SegmentScores, steps: int
) -> list[float]:
    """For each lane, in nats: the mean absolute change of the first predictions of all segments but
    the first."""
    cut = reading.cut
    last = cut.warmup + min(PROBE, cut.scored)
    nlls, _ = read_segments(reader, text_N, cut, handed_on(reading), cut.warmup, last, steps)
    counts_TS = cut.positions(cut.warmup, last, text_N.device)[1][:, 1:]
    return [
        float((new_TS - old_TS[cut.warmup : last])[:, 1:][counts_TS].double().abs().mean())
        for new_TS, old_TS in zip(nlls, reading.nlls, strict=True)
    ]
