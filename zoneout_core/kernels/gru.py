"""The GRU of K lanes, with the reset before or after the product.

    r, u = sigmoid(x W + (v h') U + b)
    n    = tanh(x W_n + (r v h') U_n + b_n), or tanh(x W_n + r y + b_n) with y = (v h') U_n + v_n
    h~   = d (u h' + (1 - u) k n)           h = z h' + (1 - z) h~

A prime marks the previous step. Masks: v recurrent, k update, d states, z keep_states.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from zoneout_core.kernels.pass_inputs import PassInputs
from zoneout_core.kernels.pointwise import mix, scale_, sigmoid_, split_, tanh
from zoneout_core.kernels.sequence import Pass
from zoneout_core.kernels.time_buffer import TimeBuffer


class GRUPass(Pass):
    """The arithmetic that both forms share. Gate blocks are ordered r, u, n."""

    BLOCKS: ClassVar[int] = 3
    SITES: ClassVar[frozenset[str]] = Pass.SITES | {"update"}
    SETTINGS: ClassVar[dict[str, tuple[Any, ...]]] = {"reset": ("before", "after")}

    def __init__(self, inputs: PassInputs) -> None:
        super().__init__(inputs)
        self.ru = self.a.leading(2)
        self.dru = self.buffer("dru", 1, 2)
        self.n_lanes = [[lane.chunk(3, dim=-1)[2] for lane in lanes] for lanes in self.a.lanes]
        self.update = self.site("update")
        self.states = self.site("states")
        self.keep_states = self.site("keep_states")

    @property
    @final
    def carried(self) -> list[TimeBuffer]:
        return [self.h]

    @abstractmethod
    def add_recurrent(self, t: int, slot: int) -> None:
        """Add the share of the state to the pre-activations of r and u."""

    @abstractmethod
    def add_to_new(self, t: int, slot: int) -> None:
        """Add the share of the state to the pre-activations of n, after r and u are computed."""

    @abstractmethod
    def back_of_new(self, t: int, da_new: Tensor, dh_kept: Tensor) -> None:
        """Write the gradient of r, from that of n's pre-activations, to the first block of
        `dru`."""

    @final
    def step(self, t: int, slot: int) -> None:
        self.add_recurrent(t, slot)
        sigmoid_(self.ru.lanes[slot])
        self.add_to_new(t, slot)
        _, u, n = self.a.blocks[slot]
        h_old = self.h.steps[t]
        mixed, new, scratch = self.scratch
        tanh(n, self.n_lanes[slot], scratch, out=n)
        written = self.written(t, n, new)
        torch.sub(h_old, written, out=mixed)
        mixed.mul_(u).add_(written)
        scale_(mixed, self.states[t])
        mix(self.keep_states[t], h_old, mixed, scratch, out=self.h.steps[t + 1])

    @final
    def written(self, t: int, n: Tensor, out: Tensor) -> Tensor:
        """k n, in `out`; n itself if no lane has such a mask."""
        update = self.update[t]
        if update is None:
            return n
        return torch.mul(n, update, out=out)

    @final
    def back(self, t: int, dh: Tensor, dh_kept: Tensor, dstates: list[Tensor]) -> None:
        """dn = (1 - u) k dh~;  du = (h' - k n) dh~;  dh' = z dh + u dh~ + its gradient through r
        and U."""
        _, u, n = self.a.blocks[t]
        _, du = self.dru.blocks[0]
        dh_u, new = self.scratch[:2]
        split_(dh, self.keep_states[t], dh_kept)
        scale_(dh, self.states[t])
        torch.sub(self.h.steps[t], self.written(t, n, new), out=du)
        du.mul_(dh)
        torch.mul(dh, u, out=dh_u)
        dh_kept.add_(dh_u)
        dn = dh.sub_(dh_u)
        scale_(dn, self.update[t])
        da_new = dn.sub_(n.mul_(n).mul_(dn))
        n.copy_(da_new)
        self.back_of_new(t, da_new, dh_kept)
        # Products need rows without gaps, so `dn` and `dru` hold copies of blocks of `da`.
        torch.ops.aten.sigmoid_backward.grad_input(
            self.dru.steps[0], self.ru.steps[t], grad_input=self.dru.steps[0]
        )
        self.ru.steps[t].copy_(self.dru.steps[0])


@final
class ResetBefore(GRUPass):
    """The paper's form: two products a step, since the second reads the state times r."""

    def __init__(self, inputs: PassInputs) -> None:
        super().__init__(inputs)
        K, T, _, H = self.shape
        self.rvh = self.buffer("rh", T if self.keep else 1)
        """r v h', which the second product reads."""
        self.drvh = self.buffer("drh", 1)
        operand, device = self.product.operand, self.w_KDG.device
        self.u_ru = self.workspace.take("u_ru", K, (H, 2 * H), operand, device)
        self.u_n = self.workspace.take("u_new", K, (H, H), operand, device)
        for k, u in enumerate(self.u):
            self.u_ru[k].copy_(u[:, : 2 * H])
            self.u_n[k].copy_(u[:, 2 * H :])

    def prepare_weights(self, *, transposed: bool) -> None:
        self.u_ru_prepared = self.prepared(self.u_ru.unbind(0), transposed=transposed)
        self.u_n_prepared = self.prepared(self.u_n.unbind(0), transposed=transposed)

    def add_recurrent(self, t: int, slot: int) -> None:
        vh_lanes = self.masked_state(t).lanes[t % len(self.vh)]
        for a, vh, u in zip(self.ru.lanes[slot], vh_lanes, self.u_ru_prepared, strict=True):
            self.product.add_(a, vh, u)

    def add_to_new(self, t: int, slot: int) -> None:
        r = self.a.blocks[slot][0]
        rvh_slot = t % len(self.rvh)
        torch.mul(r, self.vh.steps[t % len(self.vh)], out=self.rvh.steps[rvh_slot])
        lanes = zip(self.n_lanes[slot], self.rvh.lanes[rvh_slot], self.u_n_prepared, strict=True)
        for a, rvh, u in lanes:
            self.product.add_(a, rvh, u)

    def back_of_new(self, t: int, da_new: Tensor, dh_kept: Tensor) -> None:
        drvh, dr, scratch = self.drvh.steps[0], self.dru.blocks[0][0], self.scratch[0]
        lanes = zip(self.drvh.lanes[0], da_new.unbind(0), self.u_n_prepared, strict=True)
        for out, da, u in lanes:
            out.copy_(self.product.times(da, u))
        vh = self.masked_state(t).steps[t % len(self.vh)]
        torch.mul(drvh, vh, out=dr)
        torch.mul(drvh, self.a.blocks[t][0], out=scratch)
        scale_(scratch, None if self.v is None else self.v[t])
        dh_kept.add_(scratch)

    def add_recurrent_gradient(self, t: int, dh_lanes: Sequence[Tensor]) -> None:
        self.add_products(t, self.dru.lanes[0], self.u_ru_prepared, dh_lanes)

    def recurrent_weight_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        hidden = self.shape[3]
        rvh = self.rvh.values_KSBN[k].flatten(0, 1).to(self.product.operand)
        du_ru = self.product.multiply(self.masked_states(k).t(), dG_operand[:, : 2 * hidden])
        du_n = self.product.multiply(rvh.t(), dG_operand[:, 2 * hidden :])
        return torch.cat([du_ru, du_n], dim=1)

    def further_gradients(self, k: int) -> tuple[Tensor, ...]:
        return ()


@final
class ResetAfter(GRUPass):
    """The form of torch.nn.GRU: one product a step, and a second bias v_n inside the reset."""

    PARAMETERS: ClassVar[tuple[str, ...]] = (*Pass.PARAMETERS, "v_H")

    def __init__(self, inputs: PassInputs) -> None:
        super().__init__(inputs)
        self.y = self.buffer("y", self.shape[1] if self.keep else 1)
        self.dy = self.y
        """The gradient of y, in the same memory: `backward` replaces y step by step, like `a`."""
        self.dproduct = self.buffer("da", 1, 3)
        """The gradients of the product: of the pre-activations of r and u, and of y."""

    def prepare_weights(self, *, transposed: bool) -> None:
        self.u_prepared = self.prepared(self.u, transposed=transposed)

    def add_recurrent(self, t: int, slot: int) -> None:
        (v_KH,), hidden = self.further_parameters, self.shape[3]
        lanes = zip(
            self.ru.lanes[slot],
            self.y.lanes[t % len(self.y)],
            self.masked_state(t).lanes[t % len(self.vh)],
            self.u_prepared,
            v_KH,
            strict=True,
        )
        for a, y, vh, u, v in lanes:
            product = self.product.times(vh, u)
            a.add_(product[:, : 2 * hidden])
            torch.add(v, product[:, 2 * hidden :], out=y)

    def add_to_new(self, t: int, slot: int) -> None:
        r, _, n = self.a.blocks[slot]
        n.add_(torch.mul(r, self.y.steps[t % len(self.y)], out=self.scratch[0]))

    def back_of_new(self, t: int, da_new: Tensor, dh_kept: Tensor) -> None:
        r = self.a.blocks[t][0]
        torch.mul(da_new, self.y.steps[t], out=self.dru.blocks[0][0])
        torch.mul(da_new, r, out=self.dy.steps[t])

    def add_recurrent_gradient(self, t: int, dh_lanes: Sequence[Tensor]) -> None:
        da_r, da_u, _ = self.da.blocks[t]
        gradients = (da_r, da_u, self.dy.steps[t])
        for block, gradient in zip(self.dproduct.blocks[0], gradients, strict=True):
            block.copy_(gradient)
        self.add_products(t, self.dproduct.lanes[0], self.u_prepared, dh_lanes)

    def recurrent_weight_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        vh = self.masked_states(k).t()
        dy = self._dy_of_lane(k).to(self.product.operand)
        du_ru = self.product.multiply(vh, dG_operand[:, : 2 * self.shape[3]])
        return torch.cat([du_ru, self.product.multiply(vh, dy)], dim=1)

    def further_gradients(self, k: int) -> tuple[Tensor, ...]:
        return (self._dy_of_lane(k).sum(0),)

    def _dy_of_lane(self, k: int) -> Tensor:
        """[T * B, H]."""
        return self.dy.values_KSBN[k].flatten(0, 1)


BY_RESET: Final[Mapping[str, type[GRUPass]]] = {"before": ResetBefore, "after": ResetAfter}
"""The kernel for each value of the setting `reset`."""
