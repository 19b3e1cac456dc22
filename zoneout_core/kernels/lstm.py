"""The LSTM of K lanes, with every mask of spec section 9.16 but those of the raw and literal output
gates.

    a  = x W + (v h') U + b          i, f, o = sigmoid(a_i, a_f, a_o)           g = tanh(a_g)
    c~ = d_c (f c' + k i g)          c = z_c c' + (1 - z_c) r c~                s = tanh(c~)
    q  = m o + (1 - m) q'            h = z_h h' + (1 - z_h) d_h q s

A dash is the step before. Masks: v recurrent, k update, d_c cells, r carried, d_h states, m gate, z
keep_cells and keep_states; without a gate mask q is o, and no state.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from zoneout_core.kernels import switches
from zoneout_core.kernels.pointwise import mix, scale_, sigmoid_, split_, tanh, tanh_gradient_
from zoneout_core.kernels.sequence import Pass
from zoneout_core.kernels.series import Series


class LSTMPass(Pass):
    """Gate blocks are ordered i, f, o, g."""

    BLOCKS: ClassVar[int] = 4
    SITES: ClassVar[frozenset[str]] = Pass.SITES | {
        "update",
        "cells",
        "carried",
        "gate intent",
        "keep_cells",
    }

    def __init__(self, *arguments: Any, keep: bool, trajectories: bool) -> None:
        super().__init__(*arguments, keep=keep, trajectories=trajectories)
        T = self.shape[1]
        if keep or trajectories:
            every = T + 1
        else:
            every = 2
        self.c = self.series("c", every)
        self.q: Series | None = None
        if "gate" in self.masks:
            self.q = self.series("q", every)
        self.shown = self.series("shown", T if keep else 1)
        """s, the tanh of the candidate cell."""
        self.ifo = self.a.leading(3)
        self.new_lanes = [[lane.chunk(4, dim=-1)[3] for lane in lanes] for lanes in self.a.lanes]
        self.difo = self.series("difo", 1, 3)
        self.update, self.cells, self.passed = (
            self.site("update"),
            self.site("cells"),
            self.site("carried"),
        )
        self.states, self.gate = self.site("states"), self.site("gate")
        self.keep_cells, self.keep_states = self.site("keep_cells"), self.site("keep_states")

    @property
    def carried(self) -> list[Series]:
        if self.q is None:
            return [self.h, self.c]
        return [self.h, self.c, self.q]

    def step(self, t: int, slot: int) -> None:
        self.add_recurrent(t, slot)
        candidate, new, scratch = self.scratch
        c_old, c_new = self.c.steps[t % len(self.c)], self.c.steps[(t + 1) % len(self.c)]
        i, f, o, g = self.a.parts[slot]
        self.activate(slot, g, scratch)
        torch.mul(f, c_old, out=candidate)
        torch.mul(i, g, out=new)
        scale_(new, self.update[t])
        candidate.add_(new)
        scale_(candidate, self.cells[t])

        slot = t % len(self.shown)
        shown = self.shown.steps[slot]
        tanh(candidate, self.shown.lanes[slot], scratch, out=shown)
        torch.mul(self.open(t, o, scratch), shown, out=new)
        scale_(new, self.states[t])
        mix(self.keep_states[t], self.h.steps[t], new, scratch, out=self.h.steps[t + 1])
        scale_(candidate, self.passed[t])
        mix(self.keep_cells[t], c_old, candidate, scratch, out=c_new)

    def activate(self, slot: int, g: Tensor, scratch: Tensor) -> None:
        """From the pre-activations of all gates in `a` to i, f, o and g."""
        if switches.TANH_BY_SIGMOID:  # one call for all four gates, as it once was
            g.mul_(2)
            sigmoid_(self.a.lanes[slot])
            g.mul_(2).sub_(1)
            return
        sigmoid_(self.ifo.lanes[slot])
        tanh(g, self.new_lanes[slot], scratch, out=g)

    def open(self, t: int, o: Tensor, scratch: Tensor) -> Tensor:
        """The output gate as it is used: o itself, or q."""
        if self.q is None:
            return o
        q_old, q = self.q.steps[t % len(self.q)], self.q.steps[(t + 1) % len(self.q)]
        mix(self.gate[t], o, q_old, scratch, out=q)
        return q

    def back(self, t: int, dh: Tensor, dh_kept: Tensor, more: list[Tensor]) -> None:
        """dc~ = dh~ q (1 - s^2) + (1 - z_c) r dc,  dc' = z_c dc + f d_c dc~,
        dh' = z_h dh + v dG U^T

        dG = (k i (1 - i) g, f (1 - f) c', -, k i (1 - g^2)) d_c dc~, and m o (1 - o) s dh~ in the
        place of o, where dh~ = (1 - z_h) d_h dh and q's own gradient goes as that of any state that
        is mixed.
        """
        i, f, o, g = self.a.parts[t]
        shown, c_old = self.shown.steps[t], self.c.steps[t]
        di, df, do = self.difo.parts[0]
        dc, dc_kept, dcandidate = more[0], *self.scratch[:2]
        split_(dh, self.keep_states[t], dh_kept)
        scale_(dh, self.states[t])
        split_(dc, self.keep_cells[t], dc_kept)
        scale_(dc, self.passed[t])

        torch.mul(o if self.q is None else self.q.steps[t + 1], dh, out=dcandidate)
        torch.mul(shown, dcandidate, out=di)
        di.mul_(shown)
        dcandidate.sub_(di).add_(dc)
        scale_(dcandidate, self.cells[t])
        torch.mul(dcandidate, f, out=dc)
        dc.add_(dc_kept)

        torch.mul(c_old, dcandidate, out=df)
        scale_(dcandidate, self.update[t])
        torch.mul(g, dcandidate, out=di)
        dg = torch.mul(i, dcandidate, out=dc_kept)
        torch.mul(shown, dh, out=do)
        if self.q is not None:
            dq = more[1].add_(do)
            split_(dq, self.gate[t], do)
        torch.ops.aten.sigmoid_backward.grad_input(
            self.difo.steps[0], self.ifo.steps[t], grad_input=self.ifo.steps[t]
        )
        tanh_gradient_(dg, g)
