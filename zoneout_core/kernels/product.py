"""The matrix product of one lane, and which of torch's implementations computes it.

A lane's products are always issued with the lane's own shape and with operands at 64-byte boundaries, so that the
library underneath makes the same choices, and sums in the same order, whatever the pack looks like.

MKL's sgemm avoids AVX-512 on processors that Intel did not make; oneDNN, which `torch.nn.LSTM` uses, does not and is
about twice as fast there. Stock torch reaches oneDNN's float32 product, and weights laid out in advance for either
precision, through two private operators only. The rule is therefore: on the CPU, float32 and bfloat16 take those
operators where this build of torch has them; everything else takes `torch.mm`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """How matrices are multiplied. Sums within a product are float32 (float64 for float64)."""

    name: str
    """`mm` or `onednn`."""
    reason: str
    operand: torch.dtype
    """What the factors are rounded to."""
    multiply: Callable[[Tensor, Tensor], Tensor]
    """(a_MN, b_NP), both of dtype `operand`, transposed views welcome -> a @ b, also of that dtype."""
    prepare: Callable[[Tensor, int], Tensor]
    """(b_NP, M) -> b laid out for many products with M rows each."""
    multiply_prepared: Callable[[Tensor, Tensor], Tensor]
    """(a_MN of dtype `operand`, prepared b) -> a @ b, of that dtype."""

    def times(self, a_MN: Tensor, prepared: Tensor) -> Tensor:
        """a @ b, of dtype `operand`; `a` has the dtype of the master weights."""
        if a_MN.dtype != self.operand:
            a_MN = a_MN.to(self.operand)
        return self.multiply_prepared(a_MN, prepared)

    def add_(self, out_MP: Tensor, a_MN: Tensor, prepared: Tensor) -> None:
        """out += a @ b; `out` and `a` have the dtype of the master weights."""
        out_MP.add_(self.times(a_MN, prepared))


def pick(precision: str, device: torch.device) -> Product:
    """The product for `precision` on `device`; the same answer for the same build of torch and kind of processor."""
    operand = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}[precision]
    if device.type != "cpu" or precision == "float64":
        return _mm(f"{precision} on {device.type}", operand)
    if not has_onednn():
        return _mm(f"{precision}, because this torch has no oneDNN product", operand)
    reason = f"{precision} through oneDNN, as nn.LSTM"
    return Product("onednn", reason, operand, _onednn_strided, _onednn_prepare, _onednn)


def has_onednn() -> bool:
    """Whether this build of torch has the two private operators."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


def _mm(reason: str, operand: torch.dtype) -> Product:
    return Product("mm", reason, operand, torch.mm, _as_is, torch.mm)


def _as_is(b: Tensor, _rows: int) -> Tensor:
    return b


def _onednn(a: Tensor, weight_PN: Tensor) -> Tensor:
    if not (a.is_contiguous() or a.t().is_contiguous()):
        a = a.contiguous()  # with gaps between its rows, oneDNN would take a hundred times as long
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, weight_PN, None, "none", [], "")
    return result


def _onednn_strided(a: Tensor, b: Tensor) -> Tensor:
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()
    return _onednn(a, b.t())


def _onednn_prepare(b: Tensor, rows: int) -> Tensor:
    prepared: Tensor = torch.ops.mkldnn._reorder_linear_weight(b.t(), rows)
    return prepared
