"""The plain recurrent network with zoneout, a replacement for `torch.nn.RNN` (spec sections 1 and
9.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoneout_core.errors import UnknownName
from zoneout_core.modules.base import ZoneoutBase
from zoneout_core.modules.keep_masks import Rate, mix
from zoneout_core.modules.sequences import Keeps, SequenceState, Step
from zoneout_core.modules.weights import Weights, affine


class ZoneoutRNN(ZoneoutBase):
    """`torch.nn.RNN` with zoneout: the same arguments, shapes, parameters and start values, and
    further keywords.

        h~ = tanh(W x + b + U h' + b')      h = d * h' + (1 - d) * h~

    nonlinearity: "tanh" or "relu".
    z_states: the probability that a hidden state KEEPS its previous value at a step; a number, or a
    tensor [H], [layers * directions, H] or [layers * directions, 1]. It can be set at any time.
    mask, steps, generator, training and evaluation, errors: as in `ZoneoutLSTM`.
    """

    TORCH = nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        z_states: Rate = 0.0,
        mask: str = "bernoulli",
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise UnknownName("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            rates={"z_states": z_states},
            mask=mask,
            steps=steps,
            generator=generator,
        )
        self.nonlinearity = nonlinearity

    def _layer(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        u_HH = weights.u_GH.t()
        activation = torch.tanh if self.nonlinearity == "tanh" else torch.relu

        def step(a_BG: Tensor, state: SequenceState, keeps: Keeps) -> SequenceState:
            (h_old,) = state
            return (mix(keeps[0], h_old, activation(affine(a_BG, h_old, u_HH))),)

        return functional.linear(x_ND, weights.w_GD, weights.bias), step

    def _fused(
        self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState
    ) -> tuple[Tensor, ...]:
        if self.nonlinearity == "tanh":
            kernel = torch.rnn_tanh
        else:
            kernel = torch.rnn_relu
        return kernel(*self._fused_arguments(x, batch_sizes, state))
