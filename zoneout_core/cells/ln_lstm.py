"""The LSTM with layer normalisation (Ba et al. 2016, as Ha et al. 2016 use it; spec section
11.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State
from zoneout_core.cells._arithmetic import project
from zoneout_core.cells._memory import SITES, candidate, gates, write
from zoneout_core.cells._norm import layer_norm
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayerNormLSTM(Cell):
    """Gate blocks are ordered i, f, o, g. L(v) has mean 0 and variance 1 over the units of each
    block.

    pre = gain L(x W + h' U) + b        h~ = o * tanh(gain_c L(c~) + shift_c)     otherwise the LSTM
    """

    SITES: ClassVar[frozenset[str]] = SITES
    layer_norm: Literal["joint", "separate"] = "joint"
    """What layer norm normalises. `joint`: the sum of the products of input and state; `separate`:
    each of the two by itself (spec section 11.4)."""

    def _gains(self) -> tuple[str, ...]:
        if self.layer_norm == "joint":
            return ("gain_G",)
        return ("gain_w_G", "gain_u_G")

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        hidden = model.hidden_size
        gains = dict.fromkeys(self._gains(), (4 * hidden,))
        cell_norm = {"gain_c_H": (hidden,), "shift_c_H": (hidden,)}
        return super().parameters(model, inputs) | gains | cell_norm

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        values = super().initial(model, inputs, draw)
        values |= {name: draw.full(1.0, 4 * model.hidden_size) for name in self._gains()}
        return values | {
            "gain_c_H": draw.full(1.0, model.hidden_size),
            "shift_c_H": draw.full(0.0, model.hidden_size),
        }

    def project(self, p: Parameters, x: Tensor, gain: Tensor | None) -> Tensor:
        a_TBG = project(x, p["w_DG"], gain)
        if self.layer_norm == "joint":
            return a_TBG
        return layer_norm(a_TBG, p["gain_w_G"], p["b_G"], blocks=4)

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        h_old, c_old = state
        if self.layer_norm == "joint":
            a_BG = layer_norm(
                project(h_old, p["u_HG"], sites.recurrent, a_BG), p["gain_G"], p["b_G"], blocks=4
            )
        else:
            a_BG = layer_norm(
                project(h_old, p["u_HG"], sites.recurrent), p["gain_u_G"], a_BG, blocks=4
            )
        step_gates = gates(a_BG)

        def read(cell_BH: Tensor) -> Tensor:
            return layer_norm(cell_BH, p["gain_c_H"], p["shift_c_H"]).tanh()

        h, c, _ = write(
            candidate(step_gates, c_old, sites), step_gates.o, (h_old, c_old), sites, read
        )
        return h, c


PART = LayerNormLSTM
