"""The GRU of K lanes, with the reset before or after the product.

    r, u = sigmoid(x W + (v h') U + b)
    n    = tanh(x W_n + (r v h') U_n + b_n), or tanh(x W_n + r y + b_n) with y = (v h') U_n + v_n
    h~   = d (u h' + (1 - u) k n)           h = z h' + (1 - z) h~

A dash is the step before. Masks: v recurrent, k update, d states, z keep_states.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoneout_core.cells import Cell
from zoneout_core.cells.gru import GRU
from zoneout_core.kernels.pointwise import mix, scale_, sigmoid_, split_, tanh
from zoneout_core.kernels.sequence import Pass


class GRUPass(Pass):
    """What both forms share. Gate blocks are ordered r, u, n."""

    BLOCKS: ClassVar[int] = 3
    SITES: ClassVar[frozenset[str]] = Pass.SITES | {"update"}
    SETTINGS: ClassVar[dict[str, tuple[Any, ...]]] = {"reset": ("before", "after")}

    @classmethod
    def of(cls, cell: Cell) -> type[Pass]:
        assert isinstance(cell, GRU)
        if cell.reset == "before":
            return ResetBefore
        return ResetAfter

    def __init__(self, *arguments: Any, keep: bool, trajectories: bool) -> None:
        super().__init__(*arguments, keep=keep, trajectories=trajectories)
        self.ru = self.a.leading(2)
        self.dru = self.series("dru", 1, 2)
        self.new_lanes = [[lane.chunk(3, dim=-1)[2] for lane in lanes] for lanes in self.a.lanes]
        self.update, self.states, self.keep_states = (
            self.site("update"),
            self.site("states"),
            self.site("keep_states"),
        )

    def add_to_new(self, t: int, slot: int) -> None:
        """Add the share of the state to the pre-activations of n; r and u are there."""
        raise NotImplementedError

    def back_of_new(self, t: int, da_new: Tensor, dh_kept: Tensor) -> None:
        """From the gradient of n's pre-activations to that of r, in the first block of `dru`."""
        raise NotImplementedError

    def step(self, t: int, slot: int) -> None:
        self.add_recurrent(t, slot)
        sigmoid_(self.ru.lanes[slot])
        self.add_to_new(t, slot)
        _, u, n = self.a.parts[slot]
        h_old, (mixed, new, scratch) = self.h.steps[t], self.scratch
        tanh(n, self.new_lanes[slot], scratch, out=n)
        written = self.written(t, n, new)
        torch.sub(h_old, written, out=mixed)
        mixed.mul_(u).add_(written)
        scale_(mixed, self.states[t])
        mix(self.keep_states[t], h_old, mixed, scratch, out=self.h.steps[t + 1])

    def written(self, t: int, n: Tensor, out: Tensor) -> Tensor:
        """k n, in `out`; n itself where no lane has such a mask."""
        update = self.update[t]
        if update is None:
            return n
        return torch.mul(n, update, out=out)

    def back(self, t: int, dh: Tensor, dh_kept: Tensor, more: list[Tensor]) -> None:
        """dn = (1 - u) k dh~;  du = (h' - k n) dh~;  dh' = z dh + u dh~ + what r and U let by."""
        _, u, n = self.a.parts[t]
        _, du = self.dru.parts[0]
        of_old, new = self.scratch[:2]
        split_(dh, self.keep_states[t], dh_kept)
        scale_(dh, self.states[t])
        torch.sub(self.h.steps[t], self.written(t, n, new), out=du)
        du.mul_(dh)
        torch.mul(dh, u, out=of_old)
        dh_kept.add_(of_old)
        dn = dh.sub_(of_old)
        scale_(dn, self.update[t])
        da_new = dn.sub_(n.mul_(n).mul_(dn))
        n.copy_(da_new)
        self.back_of_new(t, da_new, dh_kept)
        # Products read rows without gaps, hence from `dn` and `dru` what also stands in `a`.
        torch.ops.aten.sigmoid_backward.grad_input(
            self.dru.steps[0], self.ru.steps[t], grad_input=self.dru.steps[0]
        )
        self.ru.steps[t].copy_(self.dru.steps[0])


class ResetBefore(GRUPass):
    """The paper's: two products a step, since the second reads what the first decided."""

    def __init__(self, *arguments: Any, keep: bool, trajectories: bool) -> None:
        super().__init__(*arguments, keep=keep, trajectories=trajectories)
        K, T, _, H = self.shape
        self.let_through = self.series("rh", T if keep else 1)
        """r v h'."""
        self.dthrough = self.series("drh", 1)
        operand, device = self.product.operand, self.like.device
        self.u_ru = self.ws.take("u_ru", K, (H, 2 * H), operand, device)
        self.u_new = self.ws.take("u_new", K, (H, H), operand, device)
        for k, u in enumerate(self.u):
            self.u_ru[k].copy_(u[:, : 2 * H])
            self.u_new[k].copy_(u[:, 2 * H :])

    def lay_out(self, *, transposed: bool) -> None:
        batch = self.shape[2]
        self.u_prepared, self.new_prepared = (
            [self.product.prepare(u.t() if transposed else u, batch) for u in lanes.unbind(0)]
            for lanes in (self.u_ru, self.u_new)
        )

    def add_recurrent(self, t: int, slot: int) -> None:
        lanes = self.reading(t).lanes[t % len(self.read)]
        for a, h, u in zip(self.ru.lanes[slot], lanes, self.u_prepared, strict=True):
            self.product.add_(a, h, u)

    def add_to_new(self, t: int, slot: int) -> None:
        r, at = self.a.parts[slot][0], t % len(self.let_through)
        torch.mul(r, self.read.steps[t % len(self.read)], out=self.let_through.steps[at])
        for a, h, u in zip(
            self.new_lanes[slot], self.let_through.lanes[at], self.new_prepared, strict=True
        ):
            self.product.add_(a, h, u)

    def back_of_new(self, t: int, da_new: Tensor, dh_kept: Tensor) -> None:
        dthrough, dr, scratch = self.dthrough.steps[0], self.dru.parts[0][0], self.scratch[0]
        for out, da, u in zip(
            self.dthrough.lanes[0], da_new.unbind(0), self.new_prepared, strict=True
        ):
            out.copy_(self.product.times(da, u))
        read = self.reading(t).steps[t % len(self.read)]
        torch.mul(dthrough, read, out=dr)
        torch.mul(dthrough, self.a.parts[t][0], out=scratch)
        scale_(scratch, None if self.v is None else self.v[t])
        dh_kept.add_(scratch)

    def through(self, t: int, into: Sequence[Tensor]) -> None:
        self.add_through(t, self.dru.lanes[0], into)

    def recurrent_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        hidden = self.shape[3]
        through = self.let_through.whole_KSBN[k].flatten(0, 1).to(self.product.operand)
        of_ru = self.product.multiply(self.all_read(k).t(), dG_operand[:, : 2 * hidden])
        return torch.cat(
            [of_ru, self.product.multiply(through.t(), dG_operand[:, 2 * hidden :])], dim=1
        )


class ResetAfter(GRUPass):
    """torch.nn.GRU's: one product a step, and a bias v_n of its own within the reset."""

    def __init__(self, *arguments: Any, keep: bool, trajectories: bool) -> None:
        super().__init__(*arguments, keep=keep, trajectories=trajectories)
        self.y = self.series("y", self.shape[1] if keep else 1)
        """y, which backward turns into its gradient."""
        self.da = self.series("da", 1, 3)

    @staticmethod
    def parameters() -> tuple[str, ...]:
        return (*Pass.parameters(), "v_H")

    def add_recurrent(self, t: int, slot: int) -> None:
        (v_KH,), hidden = self.more, self.shape[3]
        lanes = zip(
            self.ru.lanes[slot],
            self.y.lanes[t % len(self.y)],
            self.reading(t).lanes[t % len(self.read)],
            self.u_prepared,
            v_KH,
            strict=True,
        )
        for a, y, h, u, v in lanes:
            product = self.product.times(h, u)
            a.add_(product[:, : 2 * hidden])
            torch.add(v, product[:, 2 * hidden :], out=y)

    def add_to_new(self, t: int, slot: int) -> None:
        r, _, n = self.a.parts[slot]
        n.add_(torch.mul(r, self.y.steps[t % len(self.y)], out=self.scratch[0]))

    def back_of_new(self, t: int, da_new: Tensor, dh_kept: Tensor) -> None:
        r = self.a.parts[t][0]
        torch.mul(da_new, self.y.steps[t], out=self.dru.parts[0][0])
        torch.mul(da_new, r, out=self.y.steps[t])

    def through(self, t: int, into: Sequence[Tensor]) -> None:
        for of_product, found in zip(
            self.da.parts[0], (*self.a.parts[t][:2], self.y.steps[t]), strict=True
        ):
            of_product.copy_(found)
        self.add_through(t, self.da.lanes[0], into)

    def recurrent_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        read = self.all_read(k).t()
        of_ru = self.product.multiply(read, dG_operand[:, : 2 * self.shape[3]])
        return torch.cat(
            [of_ru, self.product.multiply(read, self._dy(k).to(self.product.operand))], dim=1
        )

    def more_gradients(self, k: int) -> tuple[Tensor, ...]:
        return (self._dy(k).sum(0),)

    def _dy(self, k: int) -> Tensor:
        return self.y.whole_KSBN[k].flatten(0, 1)
