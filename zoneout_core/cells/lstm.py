"""The LSTM without peepholes, and every site of the mask programs in it (spec sections 1, 9.16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.cells import Cell, Draw, Moment, Parameters, State
from zoneout_core.cells._arithmetic import project
from zoneout_core.cells._memory import SITES, candidate, gates, opened, remembers_gate, write
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LSTM(Cell):
    """Gate blocks are ordered i, f, o, g.

        a  = x W + h' U + b         i, f, o = sigmoid(a_i, a_f, a_o)      g = tanh(a_g)
        c~ = f * c' + i * g         c = d_c * c' + (1 - d_c) * c~
        h~ = o * tanh(c~)           h = d_h * h' + (1 - d_h) * h~

    The state h is read from the candidate cell c~, before zoneout. With a mask on the output gate
    (spec 9.5), the gate of the last step is one more state, after the others; a run that continues
    from there must get it back.
    """

    SITES: ClassVar[frozenset[str]] = SITES | {"gate"}
    output_offset: bool = False
    """Whether a trainable vector, which starts at zero, is added to the cell inside the output
    tanh. The original code has it on MNIST without batch norm (spec section 5)."""
    output: Literal["zoned", "candidate"] = "zoned"
    """Which state the next layer reads. `zoned`: the state after zoneout; `candidate`: the state as
    it would be without, as in the original addition toy (spec section 6)."""

    def sizes(self, model: ModelConfig) -> dict[str, int]:
        if self.output == "zoned":
            states = self.STATES
        else:
            states = ("output", *self.STATES)
        return dict.fromkeys(states, model.hidden_size)

    def starts(self, model: ModelConfig) -> dict[str, int]:
        return dict.fromkeys(self.STATES, model.hidden_size)

    def parameters(self, model: ModelConfig, inputs: int) -> dict[str, tuple[int, ...]]:
        if self.output_offset:
            offset = {"offset_H": (model.hidden_size,)}
        else:
            offset = {}
        return super().parameters(model, inputs) | offset

    def initial(self, model: ModelConfig, inputs: int, draw: Draw) -> dict[str, Tensor]:
        if self.output_offset:
            offset = {"offset_H": draw.full(0.0, model.hidden_size)}
        else:
            offset = {}
        return super().initial(model, inputs, draw) | offset

    def begin(self, state: State, sites: Sites) -> State:
        count_without_gate = len(self.STATES) + (self.output == "candidate")
        if not remembers_gate(sites) or len(state) > count_without_gate:
            return state
        return (*state, state[0].new_zeros(state[0].shape))

    def step(
        self, p: Parameters, a_BG: Tensor, state: State, sites: Sites, moment: Moment
    ) -> State:
        outputs_candidate = self.output == "candidate"
        h_old, c_old, *old_gate = state[1:] if outputs_candidate else state
        step_gates = gates(project(h_old, p["u_HG"], sites.recurrent, a_BG))
        gate: list[Tensor] = old_gate
        if remembers_gate(sites):
            mixed, remembered = opened(step_gates.o, old_gate[0], sites)
            step_gates = step_gates._replace(o=mixed)
            gate = [remembered]

        def read(cell_BH: Tensor) -> Tensor:
            if self.output_offset:
                cell_BH = cell_BH + p["offset_H"]
            return cell_BH.tanh()

        h, c, h_new = write(
            candidate(step_gates, c_old, sites), step_gates.o, (h_old, c_old), sites, read
        )
        if sites.gate is not None and sites.gate_form == "code":
            h = sites.gate * h + (1 - sites.gate) * (step_gates.f * h_old)
        if outputs_candidate:
            return (h_new, h, c, *gate)
        return (h, c, *gate)


PART = LSTM
