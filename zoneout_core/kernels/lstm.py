"""The LSTM of K lanes, with every mask of spec section 9.16 except those of the raw and literal
output gates.

    a  = x W + (v h') U + b          i, f, o = sigmoid(a_i, a_f, a_o)           g = tanh(a_g)
    c~ = d_c (f c' + k i g)          c = z_c c' + (1 - z_c) r c~                s = tanh(c~)
    q  = m o + (1 - m) q'            h = z_h h' + (1 - z_h) d_h q s

A prime marks the previous step. Masks: v recurrent, k update, d_c cells, r carried, d_h states, m
gate, z keep_cells and keep_states. Without a gate mask, q is o and not a state.
"""

from typing import ClassVar, final

import torch
from torch import Tensor

from zoneout_core.kernels import switches
from zoneout_core.kernels.pass_inputs import PassInputs
from zoneout_core.kernels.pointwise import mix, scale_, sigmoid_, split_, tanh, tanh_gradient_
from zoneout_core.kernels.sequence import Pass
from zoneout_core.kernels.single_product import SingleProductPass
from zoneout_core.kernels.time_buffer import TimeBuffer


@final
class LSTMPass(SingleProductPass):
    """Gate blocks are ordered i, f, o, g."""

    BLOCKS: ClassVar[int] = 4
    SITES: ClassVar[frozenset[str]] = Pass.SITES | {
        "update",
        "cells",
        "carried",
        "gate intent",
        "keep_cells",
    }

    def __init__(self, inputs: PassInputs) -> None:
        super().__init__(inputs)
        T = self.shape[1]
        slots = 2
        if self.keep or self.trajectories:
            slots = T + 1
        self.c = self.buffer("c", slots)
        self.q: TimeBuffer | None = None
        if "gate" in self.masks:
            self.q = self.buffer("q", slots)
        self.s = self.buffer("shown", T if self.keep else 1)
        self.ifo = self.a.leading(3)
        self.g_lanes = [[lane.chunk(4, dim=-1)[3] for lane in lanes] for lanes in self.a.lanes]
        self.difo = self.buffer("difo", 1, 3)
        self.update = self.site("update")
        self.cells = self.site("cells")
        self.carried_gain = self.site("carried")
        self.states = self.site("states")
        self.gate = self.site("gate")
        self.keep_cells = self.site("keep_cells")
        self.keep_states = self.site("keep_states")

    @property
    def carried(self) -> list[TimeBuffer]:
        if self.q is None:
            return [self.h, self.c]
        return [self.h, self.c, self.q]

    def step(self, t: int, slot: int) -> None:
        self.add_recurrent(t, slot)
        candidate, new, scratch = self.scratch
        c_old = self.c.steps[t % len(self.c)]
        c_new = self.c.steps[(t + 1) % len(self.c)]
        i, f, o, g = self.a.blocks[slot]
        self.activate(slot, g, scratch)
        torch.mul(f, c_old, out=candidate)
        torch.mul(i, g, out=new)
        scale_(new, self.update[t])
        candidate.add_(new)
        scale_(candidate, self.cells[t])

        s_slot = t % len(self.s)
        s = self.s.steps[s_slot]
        tanh(candidate, self.s.lanes[s_slot], scratch, out=s)
        torch.mul(self.output_gate(t, o, scratch), s, out=new)
        scale_(new, self.states[t])
        mix(self.keep_states[t], self.h.steps[t], new, scratch, out=self.h.steps[t + 1])
        scale_(candidate, self.carried_gain[t])
        mix(self.keep_cells[t], c_old, candidate, scratch, out=c_new)

    def activate(self, slot: int, g: Tensor, scratch: Tensor) -> None:
        """Turn the pre-activations of all gates, in `a`, into i, f, o and g."""
        if switches.TANH_BY_SIGMOID:  # one call for all four gates
            g.mul_(2)
            sigmoid_(self.a.lanes[slot])
            g.mul_(2).sub_(1)
            return
        sigmoid_(self.ifo.lanes[slot])
        tanh(g, self.g_lanes[slot], scratch, out=g)

    def output_gate(self, t: int, o: Tensor, scratch: Tensor) -> Tensor:
        """The output gate that h reads: o itself, or q."""
        if self.q is None:
            return o
        q_old = self.q.steps[t % len(self.q)]
        q = self.q.steps[(t + 1) % len(self.q)]
        mix(self.gate[t], o, q_old, scratch, out=q)
        return q

    def back(self, t: int, dh: Tensor, dh_kept: Tensor, dstates: list[Tensor]) -> None:
        """dc~ = dh~ q (1 - s^2) + (1 - z_c) r dc,  dc' = z_c dc + f d_c dc~,
        dh' = z_h dh + v dG U^T

        dG = (k i (1 - i) g, f (1 - f) c', -, k i (1 - g^2)) d_c dc~, with m o (1 - o) s dh~ for o,
        where dh~ = (1 - z_h) d_h dh. The gradient of q is that of any mixed state.
        """
        i, f, o, g = self.a.blocks[t]
        s = self.s.steps[t]
        c_old = self.c.steps[t]
        di, df, do = self.difo.blocks[0]
        dc = dstates[0]
        dc_kept, dcandidate = self.scratch[:2]
        split_(dh, self.keep_states[t], dh_kept)
        scale_(dh, self.states[t])
        split_(dc, self.keep_cells[t], dc_kept)
        scale_(dc, self.carried_gain[t])

        output_gate = o if self.q is None else self.q.steps[t + 1]
        torch.mul(output_gate, dh, out=dcandidate)
        torch.mul(s, dcandidate, out=di)
        di.mul_(s)
        dcandidate.sub_(di).add_(dc)
        scale_(dcandidate, self.cells[t])
        torch.mul(dcandidate, f, out=dc)
        dc.add_(dc_kept)

        torch.mul(c_old, dcandidate, out=df)
        scale_(dcandidate, self.update[t])
        torch.mul(g, dcandidate, out=di)
        dg = torch.mul(i, dcandidate, out=dc_kept)
        torch.mul(s, dh, out=do)
        if self.q is not None:
            dq = dstates[1].add_(do)
            split_(dq, self.gate[t], do)
        torch.ops.aten.sigmoid_backward.grad_input(
            self.difo.steps[0], self.ifo.steps[t], grad_input=self.ifo.steps[t]
        )
        tanh_gradient_(dg, g)
