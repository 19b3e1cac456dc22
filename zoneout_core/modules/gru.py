"""The GRU with zoneout, a replacement for `torch.nn.GRU` (spec sections 1 and 9.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoneout_core.errors import ConfigError, UnknownName
from zoneout_core.modules.base import ZoneoutBase
from zoneout_core.modules.keep_masks import Rate, mix
from zoneout_core.modules.sequences import Keeps, SequenceState, Step
from zoneout_core.modules.weights import Weights, affine


class ZoneoutGRU(ZoneoutBase):
    """`torch.nn.GRU` with zoneout: the same arguments, shapes, parameters and start values, and
    further keywords.

        r, u = sigmoid(W x + b + U h' + b')
        n = tanh(W x + b + r * (U h' + b'))      reset="after" (default): torch's form, and cuDNN's
        n = tanh(W x + b + U (r * h') + b')         reset="before": the paper's form
        h~ = u * h' + (1 - u) * n       h = d * h' + (1 - d) * h~

    The two forms are different functions of the same parameters: weights from `torch.nn.GRU` need
    `after`.

    z_states: the probability that a hidden state KEEPS its previous value at a step; a number, or a
    tensor [H], [layers * directions, H] or [layers * directions, 1]. It can be set at any time.
    mask, steps, generator, training and evaluation, errors: as in `ZoneoutLSTM`.
    """

    TORCH = nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
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
        reset: str = "after",
    ) -> None:
        if reset not in ("after", "before"):
            raise UnknownName("reset", reset, ("after", "before"))
        super().__init__(
            "GRU",
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
        self.reset = reset

    def is_plain(self) -> bool:
        return self.reset == "after" and super().is_plain()

    def to_torch(self) -> nn.RNNBase:
        """Raises `ConfigError` for reset="before", which torch.nn.GRU cannot compute."""
        if self.reset == "before":
            raise ConfigError(
                'reset must be "after" for to_torch(), but is "before": torch.nn.GRU resets after'
                " the product, and would compute something else with these weights. Keep the"
                " ZoneoutGRU, with z_states = 0."
            )
        return super().to_torch()

    def extra_repr(self) -> str:
        words = super().extra_repr()
        if self.reset == "after":
            return words
        return f"{words}, reset={self.reset!r}"

    def _returned(self, first: Tensor) -> torch.dtype | None:
        # Under autocast, torch's GRU returns 16-bit states where cuDNN runs, and elsewhere at least
        # the precision of the initial state.
        dtype = super()._returned(first)
        if dtype is None or first.is_cuda:
            return dtype
        return torch.promote_types(first.dtype, dtype)

    def _layer(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        if self.reset == "after":
            return self._reset_after(x_ND, weights)
        return self._reset_before(x_ND, weights)

    def _reset_after(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        u_HG, b_G = weights.u_GH.t(), weights.b_recurrent_G
        sizes = [2 * self.hidden_size, self.hidden_size]

        def step(a_BG: Tensor, state: SequenceState, keeps: Keeps) -> SequenceState:
            (h_old,) = state
            if b_G is None:
                recurrent_BG = h_old @ u_HG
            else:
                recurrent_BG = torch.addmm(b_G, h_old, u_HG)
            a_ru, a_n = a_BG.to(h_old.dtype).split(sizes, dim=1)
            v_ru, v_n = recurrent_BG.to(h_old.dtype).split(sizes, dim=1)
            r, u = (a_ru + v_ru).sigmoid().chunk(2, dim=1)
            n = torch.addcmul(a_n, r, v_n).tanh()
            return (mix(keeps[0], h_old, torch.lerp(n, h_old, u)),)

        return functional.linear(x_ND, weights.w_GD, weights.b_G), step

    def _reset_before(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        sizes = [2 * self.hidden_size, self.hidden_size]
        u_ru_HG, u_n_HH = (block.t() for block in weights.u_GH.split(sizes))

        def step(a_BG: Tensor, state: SequenceState, keeps: Keeps) -> SequenceState:
            (h_old,) = state
            a_ru, a_n = a_BG.split(sizes, dim=1)
            r, u = affine(a_ru, h_old, u_ru_HG).sigmoid().chunk(2, dim=1)
            n = affine(a_n, r * h_old, u_n_HH).tanh()
            return (mix(keeps[0], h_old, torch.lerp(n, h_old, u)),)

        return functional.linear(x_ND, weights.w_GD, weights.bias), step

    def _fused(
        self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState
    ) -> tuple[Tensor, ...]:
        return torch.gru(*self._fused_arguments(x, batch_sizes, state))
