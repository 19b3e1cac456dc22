"""A pass over the sequence, all lanes at once: what the kernels of all cells share.

Pointwise arithmetic spans the lanes; products and reductions are issued per lane
(docs/architecture.md, "Lanes are independent"). A kernel is a subclass with the arithmetic of one
step, forward and backward.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoneout_core.cells import Cell
from zoneout_core.kernels import series
from zoneout_core.kernels.inputs import Inputs
from zoneout_core.kernels.pointwise import numbers, pack, sum_to
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.series import Series
from zoneout_core.kernels.workspace import Workspace
from zoneout_core.masking.sites import Sites


class Pass(ABC):
    """One forward pass over T steps and, with `keep`, the backward pass that belongs to it.

    With `keep`, `a` holds the activations of every step until backward turns them, from the last
    step to the first, into the gradients of the pre-activations. Without, only the trajectories
    that are returned have all steps.
    """

    BLOCKS: ClassVar[int]
    """Gates, side by side in w, u and b."""
    SITES: ClassVar[frozenset[str]] = frozenset({"inputs", "recurrent", "states", "keep_states"})
    """What it knows of `Mask.place`."""
    SETTINGS: ClassVar[dict[str, tuple[Any, ...]]] = {}
    """Values of the cell's settings that it knows beside the defaults."""

    def __init__(
        self,
        cell: Cell,
        sites: Sites,
        product: MatMul,
        ws: Workspace,
        leaves: Sequence[Tensor],
        *,
        keep: bool,
        trajectories: bool,
    ) -> None:
        """leaves: x, the parameters in the order of `parameters`, the states. Dense inputs come
        scaled."""
        x, w_KDG, u_KHG, b_KG = leaves[:4]
        self.cell, self.product, self.ws = cell, product, ws
        self.keep, self.trajectories = keep, trajectories
        count = len(self.parameters())
        self.more, self.start = leaves[4 : 1 + count], leaves[1 + count :]
        self.like = w_KDG
        T = x.shape[1]
        self.shape = (*x.shape[:3], u_KHG.shape[1])
        """K, T, B, H."""
        masks = {name: numbers(mask, w_KDG.dtype) for name, mask in sites.present().items()}
        self.inputs = Inputs(x, w_KDG, b_KG, masks.pop("inputs", None), product, ws)
        self.masks = {name: mask.expand(self.shape) for name, mask in masks.items()}
        self.v: tuple[Tensor, ...] | None = None
        if "recurrent" in self.masks:
            self.v = self.masks["recurrent"].unbind(1)
        self.u = ws.aligned("u", u_KHG, product.operand).unbind(0)
        self.a = self.series("a", T if keep else self.inputs.chunk, self.BLOCKS)
        self.h = self.series("h", T + 1)
        if self.v is None:
            self.read = self.h
        else:
            self.read = self.series("read", 1)
        self.scratch = [self.series(f"scratch{n}", 1).steps[0] for n in range(3)]
        ws.uses += 1
        self.use = ws.uses

    @classmethod
    def of(cls, cell: Cell) -> "type[Pass]":
        """The pass for a cell with these settings."""
        return cls

    @staticmethod
    def parameters() -> tuple[str, ...]:
        """The cell's parameters in the order that `leaves` and `gradients` have them."""
        return ("w_DG", "u_HG", "b_G")

    def site(self, name: str) -> Sequence[Tensor | None]:
        """The mask at a site by step, each [K, B, H]; None where no lane has one."""
        if name in self.masks:
            return self.masks[name].unbind(1)
        return [None] * self.shape[1]

    def series(self, name: str, slots: int, blocks: int = 1) -> Series:
        """A buffer of [K, slots, B, blocks * H]."""
        K, _, B, H = self.shape
        return series.take(self.ws, name, (K, slots, B, blocks * H), self.like, blocks)

    @property
    def carried(self) -> list[Series]:
        """The states in the order of the cell, from before the first step on. A series with two
        slots takes turns."""
        return [self.h]

    @abstractmethod
    def step(self, t: int, slot: int) -> None:
        """From `a[slot]`, the share of the inputs, to the states after step t."""

    @abstractmethod
    def back(self, t: int, dh: Tensor, dh_kept: Tensor, more: list[Tensor]) -> None:
        """From dh, the gradient of the h that step t left, to those of its pre-activations in
        `a[t]`.

        dh_kept: takes what reaches the h before without going through a product with U.
        more: of the other states, as step t left them; takes those of the states before.
        """

    def forward(self) -> tuple[Tensor, ...]:
        """h of the steps 1 to T and the trajectories that were asked for (in the workspace), copies
        of the last states."""
        T = self.shape[1]
        self.lay_out(transposed=False)
        for held, start in zip(self.carried, self.start, strict=True):
            held.steps[0].copy_(start)
        for t in range(T):
            self.inputs.fill(t, self.a)
            self.step(t, t % len(self.a))
        if self.trajectories:
            returned = self.carried
        else:
            returned = [self.h]
        # .data: autograd is not to watch the workspace, which later passes overwrite; `uses`
        # watches it instead.
        every = [held.whole_KSBN[:, 1:].data for held in returned]
        return (*every, *(held.steps[T % len(held)].clone() for held in self.carried))

    def backward(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Turn `a` into gradients of the pre-activations; returns those of the states before the
        first step.

        gradients: of what `forward` returned; None = zero.
        """
        if self.use != self.ws.uses:
            raise RuntimeError(
                "Backward must run once, before its workspace is used again, but the workspace was"
                " used since. Give each forward pass that is still to be differentiated a Workspace"
                " of its own."
            )
        self.use = -1  # the activations are gone after this
        T, count = self.shape[1], len(self.carried)
        outer, *others = [None if d is None else d.unbind(1) for d in gradients[:-count]]
        dh, dh_kept, *more = (self.series(f"d{n}", 1).steps[0] for n in range(1 + count))
        for d, last in zip((dh_kept, *more), gradients[-count:], strict=True):
            d.zero_() if last is None else d.copy_(last)
        into, into_kept = dh.unbind(0), dh_kept.unbind(0)
        self.lay_out(transposed=True)
        for t in reversed(range(T)):
            if outer is None:
                dh.copy_(dh_kept)
            else:
                torch.add(outer[t], dh_kept, out=dh)
            if t + 1 < T:
                self.through(t + 1, into)
            for d, other in zip(
                more, others, strict=False
            ):  # trajectories may not have been asked for
                if other is not None:
                    d.add_(other[t])
            self.back(t, dh, dh_kept, more)
        self.through(0, into_kept)
        return [sum_to(d, start) for d, start in zip((dh_kept, *more), self.start, strict=True)]

    def gradients(self, *, need_x: bool) -> list[Tensor | None]:
        """Of x (dense, on demand) and the parameters: one product per lane for each matrix."""
        lanes = []
        for k, dG_TBG in enumerate(self.a.whole_KSBN.unbind(0)):
            dG = dG_TBG.flatten(0, 1)
            dG_operand = dG.to(self.product.operand)
            dx, dw, db = self.inputs.gradients(k, dG, dG_operand, need_x=need_x)
            lanes.append(
                (dx, dw, self.recurrent_gradient(k, dG_operand), db, *self.more_gradients(k))
            )
        return [
            None if one[0] is None else pack(list(one), self.like.dtype)
            for one in zip(*lanes, strict=True)
        ]

    # What most cells have: one product of h with all of U.

    def lay_out(self, *, transposed: bool) -> None:
        """Prepare the matrices for the products of every step, of the forward or of the backward
        pass."""
        self.u_prepared = [
            self.product.prepare(u.t() if transposed else u, self.shape[2]) for u in self.u
        ]

    def add_recurrent(self, t: int, slot: int) -> None:
        """a += (v h) U of each lane."""
        for a, h, u in zip(
            self.a.lanes[slot],
            self.reading(t).lanes[t % len(self.read)],
            self.u_prepared,
            strict=True,
        ):
            self.product.add_(a, h, u)

    def reading(self, t: int) -> Series:
        """v h, as the products of step t read it, in slot t: h itself where no lane has a mask
        there."""
        if self.v is not None:
            torch.mul(self.h.steps[t], self.v[t], out=self.read.steps[0])
        return self.read

    def through(self, t: int, into: Sequence[Tensor]) -> None:
        """Add what reaches the h before step t through its product with U, to each lane of
        `into`."""
        self.add_through(t, self.a.lanes[t], into)

    def add_through(self, t: int, da_lanes: Sequence[Tensor], into: Sequence[Tensor]) -> None:
        """out += v (da U^T), for each lane."""
        for k, (out, da, u) in enumerate(zip(into, da_lanes, self.u_prepared, strict=True)):
            dread = self.product.times(da, u)
            out.add_(dread if self.v is None else dread * self.v[t][k])

    def recurrent_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        """Of U."""
        return self.product.multiply(self.all_read(k).t(), dG_operand)

    def all_read(self, k: int) -> Tensor:
        """What the products of lane k read at all steps, [T * B, H] as they take it."""
        h_TBH = self.h.whole_KSBN[k, :-1]
        if self.v is not None:
            h_TBH = h_TBH * self.masks["recurrent"][k]
        return h_TBH.flatten(0, 1).to(self.product.operand)

    def more_gradients(self, k: int) -> tuple[Tensor, ...]:
        """Of the parameters after the first three."""
        return ()
