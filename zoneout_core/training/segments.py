"""A text read in parallel segments, each warmed up on the symbols before it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core.masking.places import Places
from zoneout_core.network.network import States
from zoneout_core.training.evaluate import Reader

MAX_SEGMENTS = 128
"""Parallel segments of a long text; more are faster and read more symbols twice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """The cut of a text into segments. Segment s reads the `warmup + scored` symbols from s *
    scored on. The first segment also scores its warmup, since no other segment does. The last one
    may reach beyond the text."""

    predictions: int
    segments: int
    warmup: int
    scored: int

    @classmethod
    def of(cls, text_N: Tensor, segments: int | None, warmup: int) -> "Cut":
        """segments: None for a number that suits the length of the text, at most
        `MAX_SEGMENTS`."""
        predictions = len(text_N) - 1
        segments = segments or max(1, min(MAX_SEGMENTS, predictions // (2 * max(1, warmup))))
        if segments == 1:
            return cls(predictions=predictions, segments=1, warmup=0, scored=predictions)
        scored = -(-(predictions - warmup) // segments)
        return cls(predictions=predictions, segments=segments, warmup=warmup, scored=scored)

    @property
    def steps(self) -> int:
        """Symbols that a segment reads."""
        return self.warmup + self.scored

    @property
    def scoring(self) -> int:
        """The number of segments that score anything. With too many segments, the last ones lie
        beyond the text."""
        return min(self.segments, -(-(self.predictions - self.warmup) // self.scored))

    def positions(self, first: int, last: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(text positions of the inputs [T, S], whether their predictions count) of the steps from
        `first` to before `last`. Positions beyond the text do not count."""
        within_T1 = torch.arange(first, last, device=device).unsqueeze(1)
        starts_1S = torch.arange(self.segments, device=device).unsqueeze(0) * self.scored
        positions_TS = starts_1S + within_T1
        counts_TS = (positions_TS < self.predictions) & (
            (within_T1 >= self.warmup) | (starts_1S == 0)
        )
        return positions_TS, counts_TS


class SegmentScores(NamedTuple):
    """The NLL of every prediction of some lanes, and the states in which scoring began and
    ended."""

    cut: Cut
    nlls: list[Tensor]
    """[T, S] for each lane."""
    began: States
    ended: States


def read_segments(
    reader: Reader, text_N: Tensor, cut: Cut, states: States, first: int, last: int, steps: int
) -> tuple[list[Tensor], States]:
    """The NLL of the steps from `first` to before `last` of all segments, [T, S] for each lane, and
    the last states. `steps` are read at a time."""
    nlls: list[list[Tensor]] = [
        [text_N.new_zeros(0, cut.segments, dtype=reader.dtype)] for _ in range(reader.lanes)
    ]
    sequences_S = torch.zeros(cut.segments, dtype=torch.int64, device=text_N.device)
    for start, stop in pieces(first, last, steps):
        positions_TS, _ = cut.positions(start, stop, text_N.device)
        places = Places(positions_TS, positions_TS, sequences_S)
        inside_TS = positions_TS.clamp(max=cut.predictions - 1)
        inputs_KTS = text_N[inside_TS].long().expand(reader.lanes, -1, -1)
        targets_KTS = text_N[inside_TS + 1].long().expand(reader.lanes, -1, -1)
        piece_nlls, states = reader.nll(inputs_KTS, targets_KTS, states, places)
        for lane_nlls, nlls_TS in zip(nlls, piece_nlls, strict=True):
            lane_nlls.append(nlls_TS)
    return [torch.cat(lane_nlls) for lane_nlls in nlls], states


def pieces(first: int, last: int, steps: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive pieces of at most `steps` steps."""
    return [(start, min(start + steps, last)) for start in range(first, last, steps)]


def handed_on(reading: SegmentScores) -> States:
    """For each segment the state in which the previous one ended. The first segment keeps its
    state, which is exact."""

    def shifted(began_KSU: Tensor, ended_KSU: Tensor) -> Tensor:
        return torch.cat([began_KSU[:, :1], ended_KSU[:, :-1]], dim=1)

    layers = zip(reading.began, reading.ended, strict=True)
    return tuple(
        tuple(shifted(began, ended) for began, ended in zip(*layer, strict=True))
        for layer in layers
    )


def of_lane(reading: SegmentScores, k: int) -> SegmentScores:
    """The scores of one lane."""

    def alone(states: States) -> States:
        return tuple(tuple(state[k : k + 1] for state in layer) for layer in states)

    return SegmentScores(
        reading.cut, reading.nlls[k : k + 1], alone(reading.began), alone(reading.ended)
    )
