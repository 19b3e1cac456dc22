"""A pass over the sequence, all lanes at once: the base of the kernels of all cells.

Pointwise arithmetic spans the lanes; products and reductions are issued per lane
(docs/architecture.md, "Lanes are independent"). A kernel is a subclass with the arithmetic of one
step, forward and backward. Subclasses override only abstract methods.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from zoneout_core.kernels import time_buffer
from zoneout_core.kernels.inputs import InputProjection
from zoneout_core.kernels.pass_inputs import PassInputs
from zoneout_core.kernels.pointwise import numbers, pack, sum_to
from zoneout_core.kernels.time_buffer import TimeBuffer


class Pass(ABC):
    """One forward pass over T steps and, with `keep`, its backward pass.

    Without `keep`, only returned trajectories have a slot for every step.
    """

    BLOCKS: ClassVar[int]
    """Number of gates in w, u and b."""
    SITES: ClassVar[frozenset[str]] = frozenset({"inputs", "recurrent", "states", "keep_states"})
    """The masks that it supports, by `Mask.site_key`."""
    SETTINGS: ClassVar[dict[str, tuple[Any, ...]]] = {}
    """The values of the cell's settings that it supports besides the defaults."""
    PARAMETERS: ClassVar[tuple[str, ...]] = ("w_DG", "u_HG", "b_G")
    """The cell's parameters in the order of `PassInputs.parameters` and of `gradients`."""

    def __init__(self, inputs: PassInputs) -> None:
        w_KDG, u_KHG, b_KG, *further_parameters = inputs.parameters
        self.cell = inputs.cell
        self.product = inputs.product
        self.workspace = inputs.workspace
        self.keep = inputs.keep
        self.trajectories = inputs.trajectories
        self.further_parameters = further_parameters
        self.initial_states = inputs.states
        self.w_KDG = w_KDG
        T = inputs.x.shape[1]
        self.shape = (*inputs.x.shape[:3], u_KHG.shape[1])
        """K, T, B, H."""
        masks = {name: numbers(mask, w_KDG.dtype) for name, mask in inputs.sites.present().items()}
        self.projection = InputProjection(
            x=inputs.x,
            w_KDG=w_KDG,
            b_KG=b_KG,
            gain=masks.pop("inputs", None),
            product=inputs.product,
            workspace=inputs.workspace,
        )
        self.masks = {name: mask.expand(self.shape) for name, mask in masks.items()}
        self.v: tuple[Tensor, ...] | None = None
        if "recurrent" in self.masks:
            self.v = self.masks["recurrent"].unbind(1)
        self.u = self.workspace.aligned("u", u_KHG, self.product.operand).unbind(0)
        self.a = self.buffer("a", T if self.keep else self.projection.chunk, self.BLOCKS)
        """The gates of every step: their pre-activations, and then their activations."""
        self.da = self.a
        """The gradients of the pre-activations, in the memory of `a`: `backward` replaces the
        activations of each step, from the last to the first."""
        self.h = self.buffer("h", T + 1)
        """Slot t has the state that step t reads."""
        self.vh = self.h
        """v h, which the products read: h itself if no lane has a mask there."""
        if self.v is not None:
            self.vh = self.buffer("read", 1)
        self.scratch = [self.buffer(f"scratch{n}", 1).steps[0] for n in range(3)]
        self.workspace.uses += 1
        self._use = self.workspace.uses

    @property
    @abstractmethod
    def carried(self) -> list[TimeBuffer]:
        """The states in the order of the cell, beginning with the initial states. A buffer with two
        slots alternates between them."""

    @abstractmethod
    def step(self, t: int, slot: int) -> None:
        """Compute the states after step t from the share of the inputs in the gates, `a[slot]`."""

    @abstractmethod
    def back(self, t: int, dh: Tensor, dh_kept: Tensor, dstates: list[Tensor]) -> None:
        """Compute `da[t]` from dh, the gradient of h after step t.

        dh_kept: receives the gradient of h before the step, without its share through U.
        dstates: the gradients of the other states after step t, which are replaced by those of the
        states before it.
        """

    @abstractmethod
    def prepare_weights(self, *, transposed: bool) -> None:
        """Lay out the matrices for the products of every step of the forward or the backward
        pass."""

    @abstractmethod
    def add_recurrent_gradient(self, t: int, dh_lanes: Sequence[Tensor]) -> None:
        """Add to each lane the gradient of h before step t through its products with U."""

    @abstractmethod
    def recurrent_weight_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        """The gradient of lane k's U, from that of all its pre-activations."""

    @abstractmethod
    def further_gradients(self, k: int) -> tuple[Tensor, ...]:
        """The gradients of lane k's parameters other than w, u and b."""

    @final
    def site(self, name: str) -> Sequence[Tensor | None]:
        """The mask at a site for each step, [K, B, H]; None if no lane has one."""
        if name in self.masks:
            return self.masks[name].unbind(1)
        return [None] * self.shape[1]

    @final
    def buffer(self, name: str, slots: int, blocks: int = 1) -> TimeBuffer:
        """A buffer of [K, slots, B, blocks * H]."""
        K, _, B, H = self.shape
        shape = (K, slots, B, blocks * H)
        return time_buffer.take(self.workspace, name, shape, self.w_KDG, blocks)

    @final
    def forward(self) -> tuple[Tensor, ...]:
        """h after every step and, with `trajectories`, the other states (all in the workspace),
        then copies of all last states."""
        T = self.shape[1]
        self.prepare_weights(transposed=False)
        for state, initial in zip(self.carried, self.initial_states, strict=True):
            state.steps[0].copy_(initial)
        for t in range(T):
            self.projection.fill(t, self.a)
            self.step(t, t % len(self.a))
        returned = self.carried if self.trajectories else [self.h]
        # .data: autograd must not track the workspace, which later passes overwrite. `uses` tracks
        # it instead.
        trajectories = [state.values_KSBN[:, 1:].data for state in returned]
        last = [state.steps[T % len(state)].clone() for state in self.carried]
        return (*trajectories, *last)

    @final
    def backward(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Fill `da`; returns the gradients of the states before the first step.

        gradients: those of the results of `forward`; None = zero.
        """
        if self._use != self.workspace.uses:
            raise RuntimeError(
                "Backward must run once, before its workspace is used again, but the workspace was"
                " used since. Give each forward pass that is still to be differentiated a Workspace"
                " of its own."
            )
        self._use = -1  # the activations are gone after this
        T = self.shape[1]
        count = len(self.carried)
        dh_outer, *dstates_outer = [None if d is None else d.unbind(1) for d in gradients[:-count]]
        dh, dh_kept, *dstates = (self.buffer(f"d{n}", 1).steps[0] for n in range(1 + count))
        for d, last in zip((dh_kept, *dstates), gradients[-count:], strict=True):
            if last is None:
                d.zero_()
            else:
                d.copy_(last)
        self.prepare_weights(transposed=True)
        for t in reversed(range(T)):
            if dh_outer is None:
                dh.copy_(dh_kept)
            else:
                torch.add(dh_outer[t], dh_kept, out=dh)
            if t + 1 < T:
                self.add_recurrent_gradient(t + 1, dh.unbind(0))
            # Without `trajectories` there are no outer gradients of the other states.
            for d, outer in zip(dstates, dstates_outer, strict=False):
                if outer is not None:
                    d.add_(outer[t])
            self.back(t, dh, dh_kept, dstates)
        self.add_recurrent_gradient(0, dh_kept.unbind(0))
        pairs = zip((dh_kept, *dstates), self.initial_states, strict=True)
        return [sum_to(d, initial) for d, initial in pairs]

    @final
    def gradients(self, *, need_x: bool) -> list[Tensor | None]:
        """The gradients of x (dense, on demand) and of the parameters: one product per lane for
        each matrix."""
        lanes = []
        for k, dG_TBG in enumerate(self.da.values_KSBN.unbind(0)):
            dG = dG_TBG.flatten(0, 1)
            dG_operand = dG.to(self.product.operand)
            dx, dw, db = self.projection.gradients(k, dG, dG_operand, need_x=need_x)
            du = self.recurrent_weight_gradient(k, dG_operand)
            lanes.append((dx, dw, du, db, *self.further_gradients(k)))
        packed: list[Tensor | None] = []
        for gradients in zip(*lanes, strict=True):
            if gradients[0] is None:
                packed.append(None)
            else:
                packed.append(pack(list(gradients), self.w_KDG.dtype))
        return packed

    @final
    def masked_state(self, t: int) -> TimeBuffer:
        """The buffer with v h, which the products of step t read, in slot `t % len`."""
        if self.v is not None:
            torch.mul(self.h.steps[t], self.v[t], out=self.vh.steps[0])
        return self.vh

    @final
    def masked_states(self, k: int) -> Tensor:
        """v h of lane k at all steps, [T * B, H] in the dtype of the operands."""
        h_TBH = self.h.values_KSBN[k, :-1]
        if self.v is not None:
            h_TBH = h_TBH * self.masks["recurrent"][k]
        return h_TBH.flatten(0, 1).to(self.product.operand)

    @final
    def prepared(self, matrices: Sequence[Tensor], *, transposed: bool) -> list[Tensor]:
        """Each lane's matrix, laid out for products with B rows."""
        return [self.product.prepare(u.t() if transposed else u, self.shape[2]) for u in matrices]

    @final
    def add_products(
        self, t: int, da_lanes: Sequence[Tensor], u_lanes: Sequence[Tensor], out: Sequence[Tensor]
    ) -> None:
        """out += v (da U^T) of each lane, at step t; `u_lanes` are prepared and transposed."""
        for k, (out_BH, da, u) in enumerate(zip(out, da_lanes, u_lanes, strict=True)):
            dvh = self.product.times(da, u)
            if self.v is not None:
                dvh = dvh * self.v[t][k]
            out_BH.add_(dvh)
