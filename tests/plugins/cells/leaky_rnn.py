"""A leaky recurrent network: each unit takes only a share of its new value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Moment, Parameters, Sites, State, gain, mix, project, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LeakyRNN(Cell):
    """h~ = (1 - leak) f(x W + h' U + b) + leak h'       h = d * h' + (1 - d) * h~"""

    STATES: ClassVar[tuple[str, ...]] = ("h",)
    GATES: ClassVar[int] = 1
    FORGETS: ClassVar[bool] = False

    activation: Literal["tanh", "softsign"] = "tanh"
    """The function f."""
    leak: float = 0.5
    """Share of the old value in the candidate, before zoneout."""

    def __post_init__(self) -> None:
        require(0.0 <= self.leak < 1.0, "cell.leak", self.leak, "at least 0 and below 1")

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        (h_old,) = state
        a_BH = project(h_old, p["u_HG"], sites.recurrent, a_BG)
        if self.activation == "tanh":
            new_BH = a_BH.tanh()
        else:
            new_BH = a_BH / (1 + a_BH.abs())
        candidate_BH = (1 - self.leak) * new_BH + self.leak * h_old
        return (mix(sites.keep_states, h_old, gain(sites.states, candidate_BH)),)


PART = LeakyRNN
