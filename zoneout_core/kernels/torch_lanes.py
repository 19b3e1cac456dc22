"""All lanes of a pack at once in stock torch: one autograd function for the sequence, with its own backward pass.

Pointwise arithmetic spans the lanes. Products, reductions and the sigmoid are issued per lane: torch computes the
last few elements of a vectorised loop with another exponential than the rest, so where a lane's elements fall in
such a loop may not depend on its neighbours (docs/architecture.md, "Lanes are independent"). One sum, difference
or product of two numbers is rounded the same everywhere, hence safe; fused ones are not used.

tanh(x) is computed as 2 sigmoid(2x) - 1, within 2e-7 of the truth in float32: torch's sigmoid is five to eight
times as fast as its tanh on processors that Intel did not make, and one call serves all four gates.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoneout_core.cells import Cell, registry_name
from zoneout_core.kernels.lanes import Lanes
from zoneout_core.kernels.product import Product
from zoneout_core.kernels.torch_buffers import buffers
from zoneout_core.kernels.workspace import Workspace
from zoneout_core.sites import NAMES, Sites

CELLS = {"lstm": frozenset({"keep_cells", "keep_states"})}
"""The sites that the kernel of a cell has."""


def missing(cell: Cell, sites: frozenset[str]) -> str:
    """What of `cell`, its settings and its masks has no kernel here, in words; empty = there is one for all of it."""
    name = registry_name(type(cell))
    if name not in CELLS:
        return f"cell {name}"
    for f in fields(cell):
        if getattr(cell, f.name) != f.default:
            return f"{name} with cell.{f.name}={getattr(cell, f.name)!r}"
    unknown = sorted(sites & frozenset(NAMES) - CELLS[name])
    return f"mask at {', '.join(unknown)} of {name}" if unknown else ""


def run(
    cell: Cell,
    p: Mapping[str, Tensor],
    x: Tensor,
    state: tuple[Tensor, ...],
    sites: Sites,
    product: Product,
    workspace: Workspace,
    trajectories: bool,
) -> Lanes:
    """`zoneout_core.kernels.recurrence`, which has the contract."""
    assert not missing(cell, frozenset(sites.present())), missing(cell, frozenset(sites.present()))
    assert not trajectories, "not yet"
    h0_KBH, c0_KBH = state
    leaves = (x, p["w_DG"], p["u_HG"], p["b_G"], h0_KBH, c0_KBH)
    nothing = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=x.device)
    cells, states = (nothing if mask is None else mask for mask in (sites.keep_cells, sites.keep_states))
    if torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves):
        apply: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Sequence.apply
        h_KTBH, *last = apply(*leaves, cells, states, product, workspace)
    else:
        with torch.no_grad():
            h_KTBH, *last = _Pass(*leaves, cells, states, product, workspace, keep=False).forward()
    return Lanes(h_KTBH, tuple(last), None, [{} for _ in range(len(x))])


class _Sequence(torch.autograd.Function):
    """The whole sequence as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        run = ctx.run = _Pass(*arguments, keep=True)
        return run.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_KTBH: Tensor, dh_KBH: Tensor, dc_KBH: Tensor) -> tuple[Tensor | None, ...]:
        run: _Pass = ctx.run
        dh0_KBH, dc0_KBH = run.backward(dh_KTBH, dh_KBH, dc_KBH)
        return (*run.gradients(need_x=ctx.needs_input_grad[0]), dh0_KBH, dc0_KBH, None, None, None, None)


class _Pass:
    """One forward pass over the sequence and, with `keep`, the backward pass that belongs to it."""

    def __init__(
        self,
        x: Tensor,
        w_KDG: Tensor,
        u_KHG: Tensor,
        b_KG: Tensor,
        h0_KBH: Tensor,
        c0_KBH: Tensor,
        mask_cells: Tensor,
        mask_states: Tensor,
        product: Product,
        ws: Workspace,
        *,
        keep: bool,
    ) -> None:
        K, T, B = x.shape[:3]
        self.shape = (K, T, B, u_KHG.shape[1])
        self.h0_KBH, self.c0_KBH, self.inputs = h0_KBH, c0_KBH, w_KDG.shape[1]
        self.mask_cells = _numbers(mask_cells).expand(self.shape).unbind(1)
        self.mask_states = _numbers(mask_states).expand(self.shape).unbind(1)
        self.product, self.ws = product, ws
        self.u = ws.aligned("u", u_KHG, product.operand).unbind(0)
        self.b = b_KG.unbind(0)
        self.tokens = not x.is_floating_point()
        if self.tokens:
            rows_KVG = ws.take("w", K, tuple(w_KDG.shape[1:]), w_KDG.dtype, w_KDG.device)
            self.w = torch.add(w_KDG, b_KG[:, None], out=rows_KVG).unbind(0)
            self.x_KTBD = x.long()
        else:
            self.w = ws.aligned("w", w_KDG, product.operand).unbind(0)
            self.x_KTBD = ws.aligned("x", x, product.operand)
        self.x = [step.unbind(0) for step in self.x_KTBD.unbind(1)]
        self.at = buffers(ws, self.shape, w_KDG, keep=keep)
        ws.uses += 1
        self.use = ws.uses

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """All states of the steps 1 to T (in the workspace), and copies of the final ones."""
        at, (K, T, B, _) = self.at, self.shape
        candidate, new, kept = at.scratch[:3]
        minus_one = candidate.new_tensor(-1.0)
        u = [self.product.prepare(u_HG, B) for u_HG in self.u]
        w = [] if self.tokens else [self.product.prepare(w_DG, B) for w_DG in self.w]
        at.h[0].copy_(self.h0_KBH)
        at.c[0].copy_(self.c0_KBH)
        for t in range(T):
            slot = t % len(at.gates)
            c_old, c_new = at.c[t % len(at.c)], at.c[(t + 1) % len(at.c)]
            for k in range(K):
                a = at.gates_lanes[slot][k]
                if self.tokens:
                    torch.index_select(self.w[k], 0, self.x[t][k], out=a)
                else:
                    a.copy_(self.b[k])
                    self.product.add_(a, self.x[t][k], w[k])
                self.product.add_(a, at.h_lanes[t][k], u[k])
            i, f, o, g = at.gates[slot]
            g.mul_(2)
            for a in at.gates_lanes[slot]:
                a.sigmoid_()
            torch.add(minus_one, g, alpha=2, out=g)
            torch.mul(f, c_old, out=candidate)
            torch.mul(i, g, out=new)
            candidate.add_(new)
            tanh = torch.mul(candidate, 2, out=at.tanh[slot])
            for tanh_k in at.tanh_lanes[slot]:
                tanh_k.sigmoid_()
            torch.add(minus_one, tanh, alpha=2, out=tanh)
            torch.mul(o, tanh, out=new)
            _blend(self.mask_states[t], at.h[t], new, kept, out=at.h[t + 1])
            _blend(self.mask_cells[t], c_old, candidate, kept, out=c_new)
        # .data: autograd is not to watch the workspace, which later passes overwrite; `uses` watches it instead.
        return at.h_KTBH[:, 1:].data, at.h[T].clone(), at.c[T % len(at.c)].clone()

    def backward(self, dh_KTBH: Tensor, dh_KBH: Tensor, dc_KBH: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the gates into gradients of the pre-activations; returns the gradients of h0 and c0.

        With dh, dc the gradients of the carried h_t, c_t, and dG of the pre-activations:

            dh~ = (1 - d_h) dh        dc~ = dh~ o (1 - tanh^2) + (1 - d_c) dc
            dG  = (dc~ g i (1 - i),  dc~ c_{t-1} f (1 - f),  dh~ tanh o (1 - o),  dc~ i (1 - g^2))
            dh_{t-1} = its own loss + d_h dh + dG U^T        dc_{t-1} = d_c dc + dc~ f
        """
        if self.use != self.ws.uses:
            raise RuntimeError(
                "Backward must run once, before its workspace is used again, but the workspace was used since. "
                "Give each forward pass that is still to be differentiated a Workspace of its own."
            )
        self.use = -1  # the gates are gone after this
        at, (K, T, B, _) = self.at, self.shape
        dh, dh_kept, dc, dc_kept, dcandidate = at.scratch
        dh_lanes, dh_kept_lanes = dh.unbind(0), dh_kept.unbind(0)
        di, df, do = at.dgates.chunk(3, dim=-1)
        outer = dh_KTBH.unbind(1)
        u_transposed = [self.product.prepare(u_HG.t(), B) for u_HG in self.u]
        dh_kept.copy_(dh_KBH)
        dc.copy_(dc_KBH)
        for t in reversed(range(T)):
            i, f, o, g = at.gates[t]
            torch.add(outer[t], dh_kept, out=dh)
            if t + 1 < T:
                for k in range(K):
                    self.product.add_(dh_lanes[k], at.gates_lanes[t + 1][k], u_transposed[k])
            torch.mul(dh, self.mask_states[t], out=dh_kept)
            dh.sub_(dh_kept)
            torch.mul(dc, self.mask_cells[t], out=dc_kept)
            dc.sub_(dc_kept)

            torch.mul(o, dh, out=dcandidate)
            torch.mul(at.tanh[t], dcandidate, out=di)
            di.mul_(at.tanh[t])
            dcandidate.sub_(di).add_(dc)
            torch.mul(dcandidate, f, out=dc)
            dc.add_(dc_kept)

            dg = torch.mul(i, dcandidate, out=dc_kept)
            torch.mul(g, dcandidate, out=di)
            torch.mul(at.c[t], dcandidate, out=df)
            torch.mul(at.tanh[t], dh, out=do)
            torch.ops.aten.sigmoid_backward.grad_input(at.dgates, at.ifo[t], grad_input=at.ifo[t])
            g.mul_(g).mul_(dg)
            torch.sub(dg, g, out=g)
        for k in range(K):
            self.product.add_(dh_kept_lanes[k], at.gates_lanes[0][k], u_transposed[k])
        return _sum_to(dh_kept, self.h0_KBH), _sum_to(dc, self.c0_KBH)

    def gradients(self, *, need_x: bool) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        """Gradients of x (dense, on demand), w, u and b: one product per lane for each matrix."""
        at, operand = self.at, self.product.operand
        dx, dw, du, db = [], [], [], []
        for k, dG_TBG in enumerate(at.gates_KTBG.unbind(0)):
            dG = dG_TBG.flatten(0, 1)
            dG_operand = dG.to(operand)
            h = at.h_KTBH[k, :-1].flatten(0, 1).to(operand)
            du.append(self.product.multiply(h.t(), dG_operand))
            x = self.x_KTBD[k].flatten(0, 1)
            if self.tokens:
                dw.append(torch.ops.aten.embedding_dense_backward(dG, x, self.inputs, -1, False))
                db.append(dw[k].sum(0))  # every example has exactly one token
                continue
            dw.append(self.product.multiply(x.t(), dG_operand))
            db.append(dG.sum(0))
            if need_x:
                dx.append(self.product.multiply(dG_operand, self.w[k].t()).view_as(self.x_KTBD[k]))
        dtype = dG.dtype
        return _pack(dx, dtype) if dx else None, _pack(dw, dtype), _pack(du, dtype), _pack(db, dtype)


def _numbers(mask: Tensor) -> Tensor:
    """A bool mask as bytes 0 and 1, which torch converts to floats six times as fast."""
    return mask.view(torch.uint8) if mask.dtype == torch.bool else mask


def _blend(mask: Tensor, old: Tensor, new: Tensor, kept: Tensor, out: Tensor) -> None:
    """out = mask * old + (1 - mask) * new, exact where the mask is 0 or 1; overwrites `new` and `kept`."""
    if mask.dtype == torch.uint8:  # lerp returns one end or the other exactly: safe, though fused
        torch.lerp(new, old, kept.copy_(mask), out=out)
        return
    torch.mul(old, mask, out=out)
    torch.mul(new, mask, out=kept)
    out.add_(new.sub_(kept))


def _sum_to(gradient_KBH: Tensor, like: Tensor) -> Tensor:
    """The gradient of a state that may be shared by the batch, summed lane by lane."""
    if gradient_KBH.shape == like.shape:
        return gradient_KBH.clone()
    return torch.stack([lane.sum(0, keepdim=True) for lane in gradient_KBH.unbind(0)])


def _pack(lanes: list[Tensor], dtype: torch.dtype) -> Tensor:
    """[K, ...] of the lanes' gradients; one lane is not copied."""
    return (lanes[0][None] if len(lanes) == 1 else torch.stack(lanes)).to(dtype)
