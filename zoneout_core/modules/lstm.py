"""The LSTM with zoneout, a replacement for `torch.nn.LSTM` (spec sections 1 and 9.1)."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoneout_core import compat
from zoneout_core.errors import ConfigError
from zoneout_core.modules.base import ZoneoutBase
from zoneout_core.modules.keep_masks import Rate, mix
from zoneout_core.modules.sequences import Keeps, SequenceState, Step
from zoneout_core.modules.weights import Weights, affine, autocast_dtype


class ZoneoutLSTM(ZoneoutBase):
    """`torch.nn.LSTM` with zoneout: the same arguments, shapes, parameters and start values, and
    further keywords.

        i, f, o = sigmoid(W x + b + U h' + b')      g = tanh(W x + b + U h' + b')
        c~ = f * c' + i * g         c = d_c * c' + (1 - d_c) * c~
        h~ = o * tanh(c~)           h = d_h * h' + (1 - d_h) * h~

    z_cells, z_states: the probabilities that a cell and a hidden state KEEP their previous value at
    a step; a number, or a tensor [H], [layers * directions, H] or [layers * directions, 1]. Both
    can be set at any time. mask: see `zoneout_core.modules.KINDS`. steps: with mask="static" only,
    the length of the longest sequence. generator: draws the masks instead of torch's global
    generator of the device.

    In training the masks are drawn; an evaluation replaces them by z. With z = 0 everywhere torch's
    own fused kernels run. Raises `ConfigError` for an invalid argument; `proj_size` must be 0.
    """

    TORCH = nn.LSTM
    RATES = ("z_states", "z_cells")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        z_cells: Rate = 0.0,
        z_states: Rate = 0.0,
        mask: str = "bernoulli",
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if proj_size != 0:
            raise ConfigError(
                f"proj_size must be 0, but is {proj_size}: zoneout mixes a state with its own past,"
                " and the paper has no projected states. Put a torch.nn.Linear behind the module"
                " instead."
            )
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            rates={"z_states": z_states, "z_cells": z_cells},
            mask=mask,
            steps=steps,
            generator=generator,
        )

    @property
    def z_cells(self) -> Rate:
        """The probability that a cell keeps its previous value at a step."""
        return self._rates["z_cells"]

    @z_cells.setter
    def z_cells(self, z: Rate) -> None:
        self._set_rate("z_cells", z)

    def _layer(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        # torch orders the gates i, f, g, o. With the three sigmoids side by side, one call computes
        # them all.
        w_GD, u_HG = _sigmoids_first(weights.w_GD), _sigmoids_first(weights.u_GH).t()
        if weights.bias is None:
            b_G = None
        else:
            b_G = _sigmoids_first(weights.bias)
        hidden = self.hidden_size

        def step(a_BG: Tensor, state: SequenceState, keeps: Keeps) -> SequenceState:
            h_old, c_old = state
            a_ifo, a_g = affine(a_BG, h_old, u_HG).split([3 * hidden, hidden], dim=1)
            i, f, o = a_ifo.sigmoid().chunk(3, dim=1)
            candidate = torch.addcmul(f * c_old, i, a_g.tanh())
            h_new = o * candidate.tanh()
            return mix(keeps[0], h_old, h_new), mix(keeps[1], c_old, candidate)

        return functional.linear(x_ND, w_GD, b_G), step

    def _fuses(self) -> bool:
        return self.is_plain() and _fused_runs(self.weight_hh_l0)

    def _fused(
        self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState
    ) -> tuple[Tensor, ...]:
        return torch.lstm(*self._fused_arguments(x, batch_sizes, state))


def _fused_runs(weight: Any) -> bool:
    """Whether torch's kernel can run. On a CPU it is oneDNN's, which torch.compile cannot
    differentiate and which supports autocast's precision on some processors only; torch.nn.LSTM
    raises where it cannot."""
    if weight.device.type != "cpu":
        return True
    dtype = autocast_dtype(weight)
    differentiated = torch.compiler.is_compiling() and torch.is_grad_enabled()
    return not differentiated and (dtype is None or _ONEDNN[dtype])


_ONEDNN: Final = {
    dtype: compat.onednn_supports(dtype) is not False for dtype in (torch.bfloat16, torch.float16)
}
"""Whether torch's LSTM runs under autocast to this precision. Without oneDNN, torch runs its own
kernel."""


def _sigmoids_first(blocks: Tensor) -> Tensor:
    """Gate blocks i, f, g, o along the first axis, in the order i, f, o, g."""
    i, f, g, o = blocks.chunk(4)
    return torch.cat([i, f, o, g])
