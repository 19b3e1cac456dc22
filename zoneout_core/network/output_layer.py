"""The output layer: h W + b for each lane, with the lane's own product."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoneout_core import cells
from zoneout_core.config.trial import TrialConfig
from zoneout_core.kernels import Shape, fastest_product
from zoneout_core.kernels.product import MatMul


def logits(h_KNU: Sequence[Tensor], w_KUC: Tensor, b_KC: Tensor, product: MatMul) -> list[Tensor]:
    """h W + b of each lane, [N, C]."""
    apply: Callable[..., Tensor] = _Logits.apply
    lanes = zip(h_KNU, w_KUC.unbind(), b_KC.unbind(), strict=True)
    return [apply(h_NU, w_UC, b_C, product) for h_NU, w_UC, b_C in lanes]


class _Logits(torch.autograd.Function):
    """The output layer of one lane, [N, U] -> [N, C]. Torch's linear layer would not use the faster
    product."""

    @staticmethod
    def forward(ctx: Any, h_NU: Tensor, w_UC: Tensor, b_C: Tensor, product: MatMul) -> Tensor:
        ctx.save_for_backward(h_NU, w_UC)
        ctx.multiply = product.multiply
        return product.multiply(h_NU, w_UC).add_(b_C)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_NC: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h_NU, w_UC = ctx.saved_tensors
        return ctx.multiply(d_NC, w_UC.t()), ctx.multiply(d_NC.t(), h_NU).t(), d_NC.sum(0), None


def output_product(config: TrialConfig, device: torch.device) -> MatMul:
    """The product of the output layer, float32 or float64. The layer is 1 % of the arithmetic of a
    character model, so bfloat16 would gain no time and lose precision."""
    precision = "float32"
    if config.precision == "float64":
        precision = "float64"
    return fastest_product.pick(precision, device, product_shape(config))


def product_shape(config: TrialConfig) -> Shape:
    """The shape of the products of a lane's recurrence. It is part of the shape key, so that all
    lanes of a pack take the same product."""
    cell = cells.chosen(config)
    hidden = config.model.hidden_size
    return Shape(config.batch_size, hidden, cell.GATES * hidden, config.sequence_length)
