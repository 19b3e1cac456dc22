"""The plain recurrent network (spec section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Moment, Parameters, State
from zoneout_core.cells._arithmetic import gain, mix, project
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RNN(Cell):
    """h~ = tanh(x W + h' U + b)       h = d_h * h' + (1 - d_h) * h~"""

    STATES: ClassVar[tuple[str, ...]] = ("h",)
    GATES: ClassVar[int] = 1
    FORGETS: ClassVar[bool] = False
    activation: Literal["tanh", "relu"] = "tanh"
    """Nonlinearity of the plain RNN. The paper says tanh; its code takes the rectifier, `relu`
    (spec section 1)."""

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        (h_old,) = state
        a = project(h_old, p["u_HG"], sites.recurrent, a_BG)
        h_new = gain(sites.states, a.tanh() if self.activation == "tanh" else a.relu())
        return (mix(sites.keep_states, h_old, h_new),)


PART = RNN
