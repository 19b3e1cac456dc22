"""The GRU, with the reset before or after the product (spec section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State
from zoneout_core.cells._arithmetic import gain, mix, project
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GRU(Cell):
    """Gate blocks are ordered r, u, n: the sigmoids adjoin, as in the LSTM.

    r, u = sigmoid(x W + h' U + b)   n = tanh(x W_n + (r * h') U_n + b_n)   reset=before (paper)
                                     n = tanh(x W_n + r * (h' U_n + v) + b_n) reset=after (torch)
    h~ = u * h' + (1 - u) * n            h = d_h * h' + (1 - d_h) * h~
    """

    STATES: ClassVar[tuple[str, ...]] = ("h",)
    GATES: ClassVar[int] = 3
    SITES: ClassVar[frozenset[str]] = frozenset(
        {"inputs", "recurrent", "update", "states", "keep_states"}
    )
    FORGETS: ClassVar[bool] = False
    reset: Literal["before", "after"] = "before"
    """Where the GRU's reset gate acts. `before`: on the state that the matrix product reads, as in
    the paper's code; `after`: on the product, with a second bias, as in torch (spec section 1)."""

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        if self.reset == "after":
            second_bias = {"v_H": (model.hidden_size,)}
        else:
            second_bias = {}
        return super().parameters(model, inputs) | second_bias

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        if self.reset == "after":
            second_bias = {"v_H": draw.bias(model.hidden_size)}
        else:
            second_bias = {}
        return super().initial(model, inputs, draw) | second_bias

    def unpack(self, p: Parameters) -> Parameters:
        hidden = len(p["u_HG"])
        u_gates, u_new = p["u_HG"].split([2 * hidden, hidden], dim=-1)
        return {**p, "u_gates": u_gates, "u_new": u_new}

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        (h_old,) = state
        hidden = h_old.shape[-1]
        gates_mask, new_mask = _split(sites.recurrent)
        a_gates, a_new = a_BG.split([2 * hidden, hidden], dim=-1)
        r, u = project(h_old, p["u_gates"], gates_mask, a_gates).sigmoid().chunk(2, dim=-1)
        if self.reset == "before":
            n = project(r * h_old, p["u_new"], new_mask, a_new).tanh()
        else:
            n = (a_new + r * project(h_old, p["u_new"], new_mask, p["v_H"])).tanh()
        h_new = gain(sites.states, u * h_old + (1 - u) * gain(sites.update, n))
        return (mix(sites.keep_states, h_old, h_new),)


def _split(mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """The recurrent masks of (r, u) and of n: the same mask, unless each gate has its own,
    [.., 3, H]."""
    if mask is None or mask.dim() == 2:
        return mask, mask
    return mask[:, :2], mask[:, 2]


PART = GRU
