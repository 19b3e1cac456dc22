"""How texts are scored (spec sections 2.5 and 3): mean negative log likelihoods in nats, masks as expected.

`chunked`: chunks of L symbols from the text's start, each from the initial state, L - 1 predictions a chunk.
`stream`: one pass over the whole text with the state carried, N - 1 predictions.
`carried`: B contiguous parts of the text at once, the state carried from chunk to chunk.

All work on several lanes at once and give each lane the same bits as alone: batch sizes follow from the text, never
from the number of lanes. Sums are float64.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import NamedTuple

import torch
from torch import Tensor

from zoneout_core.batches import Contiguous, cut
from zoneout_core.kernels import Choice
from zoneout_core.kernels.product import Product
from zoneout_core.network import Network, NetworkSites, Parameters, States
from zoneout_core.sites import Sites

WARMUP = 1000
"""Symbols that a parallel segment of a stream reads before its first prediction counts."""
SEGMENTS = 128
"""Parallel segments of a long stream; more are faster and read more symbols twice."""
STEPS = 100
"""Time steps of a stream that are evaluated between two looks at its state. No number depends on it."""
CHUNKS = 128
"""Chunks of a text that are evaluated together."""


def bits(nats: float) -> float:
    """Bits per symbol."""
    return nats / log(2)


def perplexity(nats: float) -> float:
    """exp of the mean, infinite where that has no number."""
    return exp(nats) if nats < 700 else inf


def nll(network: Network, p: Parameters, h_KTBU: Tensor, targets_KTB: Tensor, how: Product) -> list[Tensor]:
    """Negative log likelihood in nats of every target, [T, B] for each lane."""
    logits = network.logits(p, [h_TBU.flatten(0, 1) for h_TBU in h_KTBU.unbind()], how)
    return [
        torch.nn.functional.cross_entropy(logits_NV, targets_TB.flatten(), reduction="none").view_as(targets_TB)
        for logits_NV, targets_TB in zip(logits, targets_KTB, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """K lanes that read a text and learn nothing."""

    network: Network
    p: Parameters
    """Trained parts and running statistics, [K, ...]."""
    expected: Callable[[int, int], NetworkSites]
    """(T, B) -> what stands for the masks."""
    choice: Choice
    product: Product
    steps: int
    """T of training: static masks begin anew after so many steps."""
    by_batch: bool = False
    """Whether a normalising cell takes the statistics of what it reads, and not the running ones."""

    @property
    def lanes(self) -> int:
        return len(self.p[f"{self.network.prefix}out_b_V"])

    def start(self) -> States:
        """The states before the first step."""
        return self.network.start(self.p)

    def nll(
        self, inputs_KTB: Tensor, targets_KTB: Tensor, states: States, first: int = 0
    ) -> tuple[list[Tensor], States]:
        """NLL of every target, [T, B] for each lane, and the last states. first: how many steps came before."""
        steps = first + torch.arange(inputs_KTB.shape[1], device=inputs_KTB.device)
        sites = self.expected(self.steps, inputs_KTB.shape[2])
        sites = NetworkSites(
            layers=tuple(_at_steps(layer, steps % self.steps) for layer in sites.layers),
            embedding=sites.embedding,
            outputs=_pick(sites.outputs, steps % self.steps),
        )
        run = self.network.run(self.p, inputs_KTB, states, sites, self.choice, training=self.by_batch)
        return nll(self.network, self.p, run.outputs_KTBU, targets_KTB, self.product), run.states


def _at_steps(sites: Sites, steps_T: Tensor) -> Sites:
    picked = {name: _pick(mask, steps_T) for name, mask in sites.present().items()}
    return Sites(**picked, gate_form=sites.gate_form)


def _pick(mask: Tensor | None, steps_T: Tensor) -> Tensor | None:
    """[K, T, ...] at these steps, where the mask depends on the step at all."""
    return mask if mask is None or mask.shape[1] == 1 else mask[:, steps_T]


@torch.no_grad()
def chunked(reader: Reader, text_N: Tensor, length: int, offsets: Sequence[int] | None = None) -> list[float]:
    """Mean NLL of each lane over the text's whole chunks of `length`, each from the initial state.

    Symbols after the last whole chunk are not scored (as in training). With `offsets`, one per lane below `length`,
    chunks begin there and there is one chunk less (spec 2.2).
    """
    count = len(text_N) // length - (offsets is not None)
    starts_K1 = torch.tensor(offsets or [0] * reader.lanes, device=text_N.device).unsqueeze(1)
    starts_KN = starts_K1 + torch.arange(count, device=text_N.device) * length
    sums = [0.0] * reader.lanes
    for starts_KB in starts_KN.split(CHUNKS, dim=1):
        nlls, _ = reader.nll(*cut(text_N, starts_KB, length), reader.start())
        sums = [total + nll_TB.double().sum().item() for total, nll_TB in zip(sums, nlls, strict=True)]
    return [total / (count * (length - 1)) for total in sums]


class Piece(NamedTuple):
    """Some steps of all segments of a stream."""

    positions_TS: Tensor
    """Of the inputs in the text; the target is the next symbol."""
    counts_TS: Tensor
    """Whether a prediction is scored here."""
    nlls: list[Tensor]
    """[T, S] for each lane."""


def _stream(reader: Reader, text_N: Tensor, segments: int | None, warmup: int, steps: int) -> Iterator[Piece]:
    predictions = len(text_N) - 1
    segments = segments or max(1, min(SEGMENTS, predictions // (2 * max(1, warmup))))
    scored = -(-(predictions - warmup) // segments)
    # Segment s reads the `warmup + scored` symbols from s * scored on. The first has nothing before it, scores
    # all of them, and so lines up with the others; the last may reach beyond the text.
    starts_1S = torch.arange(segments, device=text_N.device).unsqueeze(0) * scored
    state = reader.start()
    for first in range(0, warmup + scored, steps):
        within_T1 = torch.arange(first, min(first + steps, warmup + scored), device=text_N.device).unsqueeze(1)
        positions_TS = starts_1S + within_T1
        counts_TS = (positions_TS < predictions) & ((within_T1 >= warmup) | (starts_1S == 0))
        positions_TS = positions_TS.clamp(max=predictions - 1)
        inputs_KTS = text_N[positions_TS].long().expand(reader.lanes, -1, -1)
        targets_KTS = text_N[positions_TS + 1].long().expand(reader.lanes, -1, -1)
        nlls, state = reader.nll(inputs_KTS, targets_KTS, state, first)
        yield Piece(positions_TS, counts_TS, nlls)


@torch.no_grad()
def stream(
    reader: Reader, text_N: Tensor, *, segments: int | None = None, warmup: int = WARMUP, steps: int = STEPS
) -> list[float]:
    """Mean NLL of each lane over one pass through the text, N - 1 predictions.

    For speed the text is read in parallel segments, each warmed up on the `warmup` symbols before it;
    `segments=1` is the exact pass. Without a number there are as many as the text is worth, at most `SEGMENTS`.
    """
    sums = [0.0] * reader.lanes
    for piece in _stream(reader, text_N, segments, warmup, steps):
        sums = [
            total + nll_TS.double().masked_fill(~piece.counts_TS, 0.0).sum().item()
            for total, nll_TS in zip(sums, piece.nlls, strict=True)
        ]
    return [total / (len(text_N) - 1) for total in sums]


@torch.no_grad()
def averaged(readers: Sequence[Reader], text_N: Tensor) -> list[float]:
    """Mean NLL of each lane when the *probabilities* of all readers are averaged (MC dropout, spec 9.7)."""
    total_KN = torch.zeros(readers[0].lanes, len(text_N) - 1, dtype=torch.float64, device=text_N.device)
    for reader in readers:
        for piece in _stream(reader, text_N, None, WARMUP, STEPS):
            for k, nll_TS in enumerate(piece.nlls):
                at, values = piece.positions_TS[piece.counts_TS], nll_TS[piece.counts_TS]
                total_KN[k, at] += values.double().neg().exp()
    return [-(row_N / len(readers)).log().mean().item() for row_N in total_KN]


@torch.no_grad()
def carried(reader: Reader, text_N: Tensor, batch: int, length: int) -> list[float]:
    """Mean NLL of each lane over `batch` contiguous parts of the text, in chunks of `length` predictions."""
    parts = Contiguous(len(text_N), batch, length)
    state, sums = reader.start(), [0.0] * reader.lanes
    for update in range(parts.updates):
        starts_KB = parts.at(update).to(text_N.device).expand(reader.lanes, -1)
        nlls, state = reader.nll(*cut(text_N, starts_KB, length + 1), state, update * length)
        sums = [total + nll_TB.double().sum().item() for total, nll_TB in zip(sums, nlls, strict=True)]
    return [total / (parts.updates * length * batch) for total in sums]
