"""The matrix product of one lane, and torch's implementations of it.

A lane's products are always issued with the lane's own shape and with operands at 64-byte
boundaries, so the library makes the same choices, and sums in the same order, whatever the pack
looks like.

    mm       torch.mm: MKL, or whatever torch was built with
    addmm    the same library; adds in place and reads matrices that were made contiguous once
    onednn   oneDNN, as in `torch.nn.LSTM`; matrices are laid out in advance; private in torch

MKL avoids AVX-512 on processors that Intel did not make, and there oneDNN is up to twice as fast.
On Intel's processors it is the other way round. So `zoneout_core.kernels.fastest_product` times
them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor

from zoneout_core import compat
from zoneout_core.errors import ConfigError, UnknownName

OPERANDS: Final = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
"""The dtype to which factors are rounded, by precision."""


@dataclass(frozen=True, slots=True)
class MatMul:
    """A way to multiply matrices. Sums within a product are float32 (float64 for float64)."""

    name: str
    """`mm`, `addmm` or `onednn`."""
    reason: str
    operand: torch.dtype
    """The dtype to which factors are rounded."""
    multiply: Callable[[Tensor, Tensor], Tensor]
    """(a_MN, b_NP), both of dtype `operand`, possibly transposed views -> a @ b, of that dtype."""
    prepare: Callable[[Tensor, int], Tensor]
    """(b_NP, M) -> b laid out for many products with M rows each."""
    multiply_prepared: Callable[[Tensor, Tensor], Tensor]
    """(a_MN of dtype `operand`, prepared b) -> a @ b, of that dtype."""
    adds: bool = False
    """Whether the library can add the product to `out` in the same call."""

    def times(self, a_MN: Tensor, prepared: Tensor) -> Tensor:
        """a @ b, of dtype `operand`; `a` has the dtype of the master weights."""
        if a_MN.dtype != self.operand:
            a_MN = a_MN.to(self.operand)
        return self.multiply_prepared(a_MN, prepared)

    def add_(self, out_MP: Tensor, a_MN: Tensor, prepared: Tensor) -> None:
        """out += a @ b; `out` and `a` have the dtype of the master weights."""
        if self.adds:
            out_MP.addmm_(a_MN, prepared)
        else:
            out_MP.add_(self.times(a_MN, prepared))

    def because(self, reason: str) -> Self:
        """The same product with another reason."""
        return replace(self, reason=reason)


def named(name: str, precision: str) -> MatMul:
    """The product of this name. Raises `UnknownName` if it does not exist, and `ConfigError` if it
    cannot run here."""
    if name not in NAMES:
        raise UnknownName("product", name, NAMES)
    if name not in possible(precision):
        raise ConfigError(
            f"The product must be one that this machine has for {precision}, but is {name!r}. "
            f"Take one of: {', '.join(possible(precision))}."
        )
    return _MAKERS[name](OPERANDS[precision])


def possible(precision: str) -> tuple[str, ...]:
    """The products of `precision` that a CPU with this build of torch can compute, the likely best
    first."""
    if precision == "float64":
        return ("mm",)
    usual: tuple[str, ...] = ("mm",)
    if precision == "float32":
        usual = ("addmm", "mm")
    if has_onednn(precision):
        return ("onednn", *usual)
    return usual


def default(precision: str) -> str:
    """The product of a CPU before anything is timed."""
    if "onednn" in possible(precision):
        return "onednn"
    return "mm"


def has_onednn(precision: str = "float32") -> bool:
    """Whether this build of torch has the two private operators, and this processor the
    instructions that they need."""
    if not compat.has_onednn_product():
        return False
    return precision == "float32" or bool(compat.onednn_supports(torch.bfloat16))


def _mm(operand: torch.dtype) -> MatMul:
    return MatMul("mm", "", operand, torch.mm, _as_is, torch.mm)


def _addmm(operand: torch.dtype) -> MatMul:
    return MatMul("addmm", "", operand, torch.mm, _copied, torch.mm, adds=True)


def _onednn(operand: torch.dtype) -> MatMul:
    return MatMul("onednn", "", operand, _onednn_strided, _onednn_prepare, _onednn_times)


_MAKERS: Final = {"mm": _mm, "addmm": _addmm, "onednn": _onednn}
NAMES: Final = tuple(_MAKERS)


def _as_is(b: Tensor, _rows: int) -> Tensor:
    return b


def _copied(b: Tensor, _rows: int) -> Tensor:
    return b.contiguous()


def _onednn_times(a: Tensor, weight_PN: Tensor) -> Tensor:
    if not (a.is_contiguous() or a.t().is_contiguous()):
        a = a.contiguous()  # with gaps between rows, oneDNN would take a hundred times as long
    return compat.onednn_product(a, weight_PN)


def _onednn_strided(a: Tensor, b: Tensor) -> Tensor:
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()
    return _onednn_times(a, b.t())


def _onednn_prepare(b: Tensor, rows: int) -> Tensor:
    return compat.onednn_prepared(b.t(), rows)
