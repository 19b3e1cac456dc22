"""The LSTM without peepholes, and every site of the mask programs in it (spec sections 1, 9.16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State, gain, mix
from zoneout_core.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor

    from zoneout_core.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LSTM(Cell):
    """Gate blocks are ordered i, f, o, g.

        a  = x W + h' U + b         i, f, o = sigmoid(a_i, a_f, a_o)      g = tanh(a_g)
        c~ = f * c' + i * g         c = d_c * c' + (1 - d_c) * c~
        h~ = o * tanh(c~)           h = d_h * h' + (1 - d_h) * h~

    The state h is mixed from the candidate cell c~, not from the zoned-out one.
    """

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        parameters = Cell.initial(self, model, inputs, draw)
        parameters["b_G"][model.hidden : 2 * model.hidden] += model.forget_bias
        return parameters

    def step(self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment) -> State:
        h_old, c_old = state
        a_i, a_f, a_o, a_g = (a_BG + gain(sites.recurrent, h_old) @ p["u_HG"] + p["b_G"]).chunk(4, dim=-1)
        i, f, o, g = a_i.sigmoid(), a_f.sigmoid(), a_o.sigmoid(), a_g.tanh()
        candidate = f * c_old + gain(sites.update, i * g)
        h_new = o * candidate.tanh()
        return mix(sites.keep_states, h_old, h_new), mix(sites.keep_cells, c_old, candidate)


PART = LSTM
