"""Scores of texts (spec sections 2.5 and 3): mean negative log likelihoods in nats, with expected
masks.

`chunked`: chunks of L symbols from the start of the text, each from the initial state, with L - 1
predictions per chunk. `carried`: B contiguous parts of the text at once, with the state carried
from chunk to chunk. One pass over the entire text is in `zoneout_core.training.one_pass`.

All functions work on several lanes at once and give each lane the bits that it has alone: batch
sizes depend on the text, never on the number of lanes. Sums are float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import torch
from torch import Tensor

from zoneout_core.cells import Parameters
from zoneout_core.kernels import KernelChoice
from zoneout_core.kernels.product import MatMul
from zoneout_core.masking.places import Places
from zoneout_core.network.network import Network, States
from zoneout_core.network.network_sites import NetworkSites
from zoneout_core.training.batches import Contiguous, cut

CHUNKS = 128
"""Chunks of a text that are evaluated together."""


def bits(nats: float) -> float:
    """Bits per symbol."""
    return nats / log(2)


def perplexity(nats: float) -> float:
    """exp of the mean, infinite where it overflows."""
    if nats < 700:
        return exp(nats)
    return inf


def nll(
    network: Network, p: Parameters, h_KTBU: Tensor, targets_KTB: Tensor, product: MatMul
) -> list[Tensor]:
    """Negative log likelihood in nats of every target, [T, B] for each lane."""
    logits = network.logits(p, [h_TBU.flatten(0, 1) for h_TBU in h_KTBU.unbind()], product)
    return [
        torch.nn.functional.cross_entropy(
            logits_NV, targets_TB.flatten(), reduction="none"
        ).view_as(targets_TB)
        for logits_NV, targets_TB in zip(logits, targets_KTB, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """K lanes that read a text without learning."""

    network: Network
    p: Parameters
    """Trained parts and running statistics, [K, ...]."""
    expected: Callable[[Places], NetworkSites]
    """The masks, or their expectations, at these places."""
    choice: KernelChoice
    product: MatMul
    by_batch: bool = False
    """Whether a normalising cell uses the statistics of the batch that it reads, and not the
    running statistics."""

    @property
    def lanes(self) -> int:
        return len(self.p[f"{self.network.prefix}out_b_V"])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of NLLs."""
        return self.p[f"{self.network.prefix}out_b_V"].dtype

    def alone(self, lane: int) -> "Reader":
        """A reader for a single lane."""
        p = {name: value_KX[lane : lane + 1] for name, value_KX in self.p.items()}
        return replace(self, p=p, expected=lambda places: self.expected(places).of_lane(lane))

    def start(self) -> States:
        """The states before the first step."""
        return self.network.start(self.p)

    def nll(
        self, inputs_KTB: Tensor, targets_KTB: Tensor, states: States, places: Places
    ) -> tuple[list[Tensor], States]:
        """NLL of every target, [T, B] for each lane, and the last states."""
        sites = self.expected(places)
        run = self.network.run(
            self.p, inputs_KTB, states, sites, self.choice, training=self.by_batch
        )
        return nll(self.network, self.p, run.outputs_KTBU, targets_KTB, self.product), run.states


@torch.no_grad()
def chunked(
    reader: Reader, text_N: Tensor, length: int, offsets: Sequence[int] | None = None
) -> list[float]:
    """Mean NLL of each lane over the complete chunks of `length` in the text, each from the initial
    state.

    Symbols after the last complete chunk are not scored (as in training). With `offsets`, one per
    lane and below `length`, chunks begin there and there is one chunk less (spec 2.2).
    """
    count = len(text_N) // length - (offsets is not None)
    starts_K1 = torch.tensor(offsets or [0] * reader.lanes, device=text_N.device).unsqueeze(1)
    chunks_N = torch.arange(count, device=text_N.device)
    steps_T1 = torch.arange(length - 1, device=text_N.device).unsqueeze(1)
    sums = [0.0] * reader.lanes
    for chunks_B in chunks_N.split(CHUNKS):
        places = Places(steps_T1, chunks_B * length + steps_T1, chunks_B)
        nlls, _ = reader.nll(
            *cut(text_N, starts_K1 + chunks_B * length, length), reader.start(), places
        )
        sums = [
            total + nll_TB.double().sum().item() for total, nll_TB in zip(sums, nlls, strict=True)
        ]
    return [total / (count * (length - 1)) for total in sums]


@torch.no_grad()
def carried(reader: Reader, text_N: Tensor, batch: int, length: int) -> list[float]:
    """Mean NLL of each lane over `batch` contiguous parts of the text, in chunks of `length`
    predictions."""
    parts = Contiguous(len(text_N), batch, length)
    parts_B = torch.arange(batch, device=text_N.device)
    within_T1 = torch.arange(length, device=text_N.device).unsqueeze(1)
    state = reader.start()
    sums = [0.0] * reader.lanes
    for update in range(parts.epoch_updates):
        starts_B = parts.starts(update).to(text_N.device)
        places = Places(update * length + within_T1, starts_B + within_T1, parts_B)
        nlls, state = reader.nll(
            *cut(text_N, starts_B.expand(reader.lanes, -1), length + 1), state, places
        )
        sums = [
            total + nll_TB.double().sum().item() for total, nll_TB in zip(sums, nlls, strict=True)
        ]
    return [total / (parts.epoch_updates * length * batch) for total in sums]
