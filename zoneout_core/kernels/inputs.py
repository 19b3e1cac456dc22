"""The share of the inputs in a layer's pre-activations, x_t W + b, and its gradients, for tokens
and for dense inputs."""

import torch
from torch import Tensor

from zoneout_core.kernels.pointwise import numbers
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.time_buffer import TimeBuffer
from zoneout_core.kernels.workspace import Workspace

ROWS = 2048
"""One product projects the dense inputs of as many steps as make about this many rows."""


class InputProjection:
    """The projection of K lanes. Products are issued per lane, and for the same steps whether or
    not the pass keeps its activations."""

    def __init__(
        self,
        *,
        x: Tensor,
        w_KDG: Tensor,
        b_KG: Tensor,
        gain: Tensor | None,
        product: MatMul,
        workspace: Workspace,
    ) -> None:
        """x: tokens [K, T, B] or [K, T, B, D]. gain: for tokens only, [K, T, B, 1]; dense inputs
        are already scaled."""
        self.product = product
        self.b = b_KG.unbind(0)
        self.size = w_KDG.shape[1]
        K, T, B = x.shape[:3]
        self.tokens = not x.is_floating_point()
        self.chunk = 1
        """Steps that are filled together."""
        if not self.tokens:
            self.chunk = max(1, min(T, ROWS // B))
        self.gain = None
        if not self.tokens:
            self.w = workspace.aligned("w", w_KDG, product.operand).unbind(0)
            self.x_KTBD = workspace.aligned("x", x, product.operand)
            self.prepared = [product.prepare(w_DG, self.chunk * B) for w_DG in self.w]
            return
        # With a gain the bias is added later; w * 1 + b has the same bits as the row (w + b).
        rows_KDG = workspace.take("w", K, tuple(w_KDG.shape[1:]), w_KDG.dtype, w_KDG.device)
        if gain is not None:
            rows_KDG.copy_(w_KDG)
        else:
            torch.add(w_KDG, b_KG[:, None], out=rows_KDG)
        self.w = rows_KDG.unbind(0)
        self.x_KTBD = x.long()
        self.x = [step.unbind(0) for step in self.x_KTBD.unbind(1)]
        if gain is not None:
            self.gain_KTB1 = numbers(gain, w_KDG.dtype).expand(K, T, B, 1)
            self.gain = self.gain_KTB1.unbind(1)

    def fill(self, t: int, a: TimeBuffer) -> None:
        """Write x W + b into `a` for the chunk that begins with step t, if one does."""
        if t % self.chunk:
            return
        slot = t % len(a)
        if self.tokens:
            for x, w, out in zip(self.x[t], self.w, a.lanes[slot], strict=True):
                torch.index_select(w, 0, x, out=out)
            if self.gain is not None:
                a.steps[slot].mul_(self.gain[t])
                for out, b in zip(a.lanes[slot], self.b, strict=True):
                    out.add_(b)
            return
        lanes = zip(self.x_KTBD, self.prepared, self.b, a.values_KSBN, strict=True)
        for x, prepared, b, out in lanes:
            steps = x[t : t + self.chunk]
            rows = self.product.multiply_prepared(steps.flatten(0, 1), prepared)
            torch.add(rows.view(*steps.shape[:2], -1), b, out=out[slot : slot + len(steps)])

    def gradients(
        self, k: int, dG: Tensor, dG_operand: Tensor, *, need_x: bool
    ) -> tuple[Tensor | None, ...]:
        """The gradients of lane k's x (dense, on demand), w and b, from dG [T * B, G], the gradient
        of all its pre-activations."""
        x = self.x_KTBD[k].flatten(0, 1)
        if not self.tokens:
            dw = self.product.multiply(x.t(), dG_operand)
            dx = None
            if need_x:
                dx = self.product.multiply(dG_operand, self.w[k].t()).view_as(self.x_KTBD[k])
            return dx, dw, dG.sum(0)
        dw = torch.ops.aten.embedding_dense_backward(dG, x, self.size, -1, False)
        db = dw.sum(0)  # every example has exactly one token
        if self.gain is not None:
            dG = dG * self.gain_KTB1[k].flatten(0, 1)
            dw = torch.ops.aten.embedding_dense_backward(dG, x, self.size, -1, False)
        return None, dw, db
