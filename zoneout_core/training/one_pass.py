"""The score of one pass through a text with the state carried: N - 1 predictions (spec sections
2.5, 3 and 9.7).

For speed a text is read in parallel segments, each warmed up on the symbols before it. Whether that
was enough is seen for each lane: the state that a warmed-up segment begins to score with is
compared with the state that the segment before it really reached there. Where they differ, all
segments of that lane are read again, each from where the one before it ended, until they agree. If
that does not help, the lane reads the text in one piece, which is exact.

What one lane needs changes no bit of another: all read the first time, and then each alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core.masking.places import Places
from zoneout_core.network.network import States
from zoneout_core.training.evaluate import Reader

WARMUP = 1000
"""Symbols that a segment reads before its first prediction counts."""
SEGMENTS = 128
"""Parallel segments of a long text; more are faster and read more symbols twice."""
STEPS = 100
"""Time steps that are evaluated between two looks at the state. No number depends on it."""
STATES_AGREE = 1e-3
"""How far tanh of two states may differ in any unit: a cell of 50 and one of 100 say the same to
all who read them."""
SCORES_AGREE = 1e-4
"""How far, in nats, the predictions may differ that they lead to, in the mean."""
PROBE = 100
"""Predictions of each segment, its first ones, on which that is measured."""


class Score(NamedTuple):
    """Of one lane."""

    nats: float
    """Mean NLL of a prediction."""
    uncertainty: float
    """How far the mean may be off, in nats: how much, in the mean, the first `PROBE` predictions of
    the segments change when they are read from where the segments before them ended. What is left
    of that difference fades along a segment, so that the whole is off by less. Zero where the text
    was read in one piece."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """How a text is cut. Segment s reads the `warmup + scored` symbols from s * scored on. The
    first has nothing before it, scores all of them, and so lines up with the others; the last may
    reach beyond the text."""

    predictions: int
    segments: int
    warmup: int
    scored: int

    @classmethod
    def of(cls, text_N: Tensor, segments: int | None, warmup: int) -> "Cut":
        """Without a number of segments there are as many as the text is worth, at most
        `SEGMENTS`."""
        predictions = len(text_N) - 1
        segments = segments or max(1, min(SEGMENTS, predictions // (2 * max(1, warmup))))
        if segments == 1:
            return cls(predictions=predictions, segments=1, warmup=0, scored=predictions)
        scored = -(-(predictions - warmup) // segments)
        return cls(predictions=predictions, segments=segments, warmup=warmup, scored=scored)

    @property
    def steps(self) -> int:
        """Symbols that a segment reads."""
        return self.warmup + self.scored

    @property
    def begun(self) -> int:
        """Segments that score anything: with more of them than the text is worth, the last ones lie
        beyond it."""
        return min(self.segments, -(-(self.predictions - self.warmup) // self.scored))

    def positions(self, first: int, last: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(positions in the text of the inputs [T, S], whether their predictions count) of the
        steps from `first` to before `last`; those that lie beyond the text do not count."""
        within_T1 = torch.arange(first, last, device=device).unsqueeze(1)
        starts_1S = torch.arange(self.segments, device=device).unsqueeze(0) * self.scored
        positions_TS = starts_1S + within_T1
        counts_TS = (positions_TS < self.predictions) & (
            (within_T1 >= self.warmup) | (starts_1S == 0)
        )
        return positions_TS, counts_TS


class _Reading(NamedTuple):
    """Of some lanes: the NLL of every prediction, and the states with which scoring began and
    ended."""

    cut: Cut
    nlls: list[Tensor]
    """[T, S] for each lane."""
    began: States
    ended: States


@torch.no_grad()
def stream(
    reader: Reader,
    text_N: Tensor,
    *,
    segments: int | None = None,
    warmup: int = WARMUP,
    steps: int = STEPS,
) -> list[Score]:
    """The score of each lane; `segments=1` reads all of them in one piece."""
    scores = []
    for cut, nlls_TS, uncertainty in _read(reader, text_N, segments, warmup, steps):
        total = 0.0
        for first, last in _pieces(0, cut.warmup, steps) + _pieces(cut.warmup, cut.steps, steps):
            counts_TS = cut.positions(first, last, text_N.device)[1]
            total += nlls_TS[first:last].double().masked_fill(~counts_TS, 0.0).sum().item()
        scores.append(Score(total / cut.predictions, uncertainty))
    return scores


@torch.no_grad()
def averaged(readers: Sequence[Reader], text_N: Tensor) -> list[Score]:
    """The score of each lane when the *probabilities* of all readers are averaged (MC dropout, spec
    9.7); its uncertainty is the largest of theirs."""
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
    """Of each lane: how its text was cut, the NLL of every prediction [T, S], and the uncertainty
    of their mean."""
    cut = Cut.of(text_N, segments, warmup)
    warm, began = _segments(reader, text_N, cut, reader.start(), 0, cut.warmup, steps)
    nlls, ended = _segments(reader, text_N, cut, began, cut.warmup, cut.steps, steps)
    whole = [torch.cat(both) for both in zip(warm, nlls, strict=True)]
    began = tuple(tuple(one.expand(-1, cut.segments, -1) for one in layer) for layer in began)
    first = _Reading(cut, whole, began, ended)
    distances, uncertainties = _compare(reader, text_N, first, steps)
    lanes = []
    for k, (nlls_TS, distance, uncertainty) in enumerate(
        zip(whole, distances, uncertainties, strict=True)
    ):
        if distance <= 1 or not isfinite(
            float(nlls_TS.sum())
        ):  # a network that overflows has no better number
            lanes.append((cut, nlls_TS, uncertainty))
        else:
            lanes.append(_read_again(reader.alone(k), text_N, _of_lane(first, k), distance, steps))
    return lanes


def _read_again(
    reader: Reader, text_N: Tensor, reading: _Reading, distance: float, steps: int
) -> tuple[Cut, Tensor, float]:
    """One lane whose segments did not begin where the ones before them ended: as long as each
    reading brings them at least twice as near, and then in one piece."""
    cut = reading.cut
    before = inf
    while distance <= before / 2:
        began = _handed_on(reading)
        (nlls_TS,), ended = _segments(reader, text_N, cut, began, cut.warmup, cut.steps, steps)
        whole_TS = torch.cat([reading.nlls[0][: cut.warmup], nlls_TS])
        reading = _Reading(cut, [whole_TS], began, ended)
        before = distance
        (distance,), (uncertainty,) = _compare(reader, text_N, reading, steps)
        if distance <= 1:
            return cut, whole_TS, uncertainty
    (in_one_piece,) = _read(reader, text_N, 1, 0, steps)
    return in_one_piece


def _segments(
    reader: Reader, text_N: Tensor, cut: Cut, states: States, first: int, last: int, steps: int
) -> tuple[list[Tensor], States]:
    """NLL of the steps from `first` to before `last` of all segments, [T, S] for each lane, and the
    last states."""
    nlls: list[list[Tensor]] = [
        [text_N.new_zeros(0, cut.segments, dtype=reader.dtype)] for _ in range(reader.lanes)
    ]
    sequences_S = torch.zeros(cut.segments, dtype=torch.int64, device=text_N.device)
    for start, stop in _pieces(first, last, steps):
        positions_TS, _ = cut.positions(start, stop, text_N.device)
        places = Places(positions_TS, positions_TS, sequences_S)
        inside_TS = positions_TS.clamp(max=cut.predictions - 1)
        inputs_KTS = text_N[inside_TS].long().expand(reader.lanes, -1, -1)
        targets_KTS = text_N[inside_TS + 1].long().expand(reader.lanes, -1, -1)
        found, states = reader.nll(inputs_KTS, targets_KTS, states, places)
        for own, nlls_TS in zip(nlls, found, strict=True):
            own.append(nlls_TS)
    return [torch.cat(own) for own in nlls], states


def _pieces(first: int, last: int, steps: int) -> list[tuple[int, int]]:
    return [(start, min(start + steps, last)) for start in range(first, last, steps)]


def _handed_on(reading: _Reading) -> States:
    """For each segment the state in which the one before it ended; the first one keeps its own,
    which is exact."""

    def one(began_KSU: Tensor, ended_KSU: Tensor) -> Tensor:
        return torch.cat([began_KSU[:, :1], ended_KSU[:, :-1]], dim=1)

    pairs = zip(reading.began, reading.ended, strict=True)
    return tuple(tuple(one(*both) for both in zip(*layer, strict=True)) for layer in pairs)


def _compare(
    reader: Reader, text_N: Tensor, reading: _Reading, steps: int
) -> tuple[list[float], list[float]]:
    """Of each lane: how far its segments began from where the ones before them ended, 1 = just near
    enough; and the uncertainty that follows from it."""
    if reading.cut.begun < 2:
        return [0.0] * reader.lanes, [0.0] * reader.lanes
    states, scores = (
        _differences_of_states(reading),
        _differences_of_scores(reader, text_N, reading, steps),
    )
    distances = [
        max(state / STATES_AGREE, score / SCORES_AGREE)
        if isfinite(state) and isfinite(score)
        else inf
        for state, score in zip(states, scores, strict=True)
    ]
    return distances, scores


def _differences_of_states(reading: _Reading) -> list[float]:
    """Of each lane the largest in any unit, after tanh."""
    last = reading.cut.begun - 1
    found = [
        (began_KSU[:, 1 : last + 1].tanh() - ended_KSU[:, :last].tanh())
        .abs()
        .amax(dim=(1, 2))
        .double()
        for layer, ends in zip(reading.began, reading.ended, strict=True)
        for began_KSU, ended_KSU in zip(layer, ends, strict=True)
    ]
    return torch.stack(found).amax(dim=0).tolist()


def _differences_of_scores(
    reader: Reader, text_N: Tensor, reading: _Reading, steps: int
) -> list[float]:
    """Of each lane, in nats: the mean size over the first predictions of all segments but the
    first."""
    cut = reading.cut
    last = cut.warmup + min(PROBE, cut.scored)
    nlls, _ = _segments(reader, text_N, cut, _handed_on(reading), cut.warmup, last, steps)
    counts_TS = cut.positions(cut.warmup, last, text_N.device)[1][:, 1:]
    return [
        float((new_TS - old_TS[cut.warmup : last])[:, 1:][counts_TS].double().abs().mean())
        for new_TS, old_TS in zip(nlls, reading.nlls, strict=True)
    ]


def _of_lane(reading: _Reading, k: int) -> _Reading:
    def alone(states: States) -> States:
        return tuple(tuple(one[k : k + 1] for one in layer) for layer in states)

    return _Reading(
        reading.cut, reading.nlls[k : k + 1], alone(reading.began), alone(reading.ended)
    )
