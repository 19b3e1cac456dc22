"""The matrix product of one lane, and which of torch's implementations computes it.

A lane's products are always issued with the lane's own shape and with operands at 64-byte boundaries, so that the
library underneath makes the same choices, and sums in the same order, whatever the pack looks like.

MKL's sgemm avoids AVX-512 on processors that Intel did not make; oneDNN, which `torch.nn.LSTM` uses, does not and is
about twice as fast there. Stock torch reaches oneDNN's float32 product through one private operator only, so the
rule is: on the CPU, float32 takes that operator where this build of torch has it, everything else takes `torch.mm`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

AddProduct = Callable[[Tensor, Tensor, Tensor], None]


@dataclass(frozen=True, slots=True)
class Product:
    """How `a_MN @ b_NP` is computed; `b` may be a transposed view."""

    name: str
    reason: str
    operand_dtype: torch.dtype
    """Of what is multiplied; sums within a product are float32 (float64 for float64)."""
    multiply: Callable[[Tensor, Tensor], Tensor]
    """(a, b) -> a new tensor of `operand_dtype`."""
    add_: AddProduct
    """(out, a, b): out += a @ b, out in the dtype of the master weights."""


def pick(precision: str, device: torch.device) -> Product:
    """The product for `precision` on `device`; the same answer for the same build of torch and kind of processor."""
    if precision == "bfloat16":
        return Product("mm", "bfloat16 operands, float32 sums", torch.bfloat16, torch.mm, _add_mm_mixed)
    if precision == "float64":
        return Product("mm", "float64", torch.float64, torch.mm, _add_mm)
    if device.type != "cpu":
        return Product("mm", f"float32 on {device.type}", torch.float32, torch.mm, _add_mm)
    if not _has_onednn():
        return Product("mm", "float32, this torch has no oneDNN product", torch.float32, torch.mm, _add_mm)
    return Product("onednn", "float32 through oneDNN, as nn.LSTM", torch.float32, _onednn, _add_onednn)


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _onednn(a: Tensor, b: Tensor) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")
    return result


def _add_onednn(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.add_(_onednn(a, b))


def _add_mm(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.addmm_(a, b)


def _add_mm_mixed(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.add_(torch.mm(a.to(b.dtype), b))
