"""The private parts of PyTorch that we use, which any version may change. Checked with torch 2.11
and 2.13; `tests/zoneout_core/test_compat.py` fails when a version changes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

_ONEDNN_OPERATORS = ("_linear_pointwise", "_reorder_linear_weight")


def has_onednn_product() -> bool:
    """Whether this build of torch has oneDNN and the two operators that `onednn_product` and
    `onednn_prepared` call."""
    if not torch.backends.mkldnn.is_available():
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in _ONEDNN_OPERATORS)


def onednn_product(a_NK: Tensor, weight_PK: Tensor) -> Tensor:
    """a @ weight.T, [N, P], by oneDNN; torch's own `mm` goes to MKL, which is slower on many
    processors (docs/log.md).

    weight_PK: plain, or from `onednn_prepared`. The public `linear` with a weight from
    `torch.utils.mkldnn.to_mkldnn` would copy every input.
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a_NK, weight_PK, None, "none", [], "")
    return product


def onednn_prepared(weight_PK: Tensor, rows: int) -> Tensor:
    """The weight in the layout with which oneDNN multiplies `rows` rows fastest. Only
    `onednn_product` can still read it."""
    prepared: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_PK, rows)
    return prepared


def onednn_supports(dtype: torch.dtype) -> bool | None:
    """Whether oneDNN computes in bfloat16 or float16 on this processor. No public function tells.

    None where this torch has no oneDNN, or no function that answers.
    """
    question = {
        torch.bfloat16: "_is_mkldnn_bf16_supported",
        torch.float16: "_is_mkldnn_fp16_supported",
    }[dtype]
    ask = getattr(torch.ops.mkldnn, question, None)
    if not torch.backends.mkldnn.is_available() or ask is None:
        return None
    return bool(ask())


class MovedModule(nn.Module):
    """A module that is told when it moves: `to`, `cuda`, `half` and all others end in
    `Module._apply`, even when a parent is moved. There is no public hook."""

    def after_move(self) -> None:
        """Called after each move or conversion of the parameters."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        self.after_move()
        return self
