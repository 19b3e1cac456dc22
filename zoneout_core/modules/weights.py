"""Parameters in torch's layout: those of one layer, and copying them between modules.

Shapes: B batch, D inputs, H hidden, G gates side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Weights(NamedTuple):
    """Parameters of one layer and direction, in torch's layout."""

    w_GD: Tensor
    u_GH: Tensor
    b_G: Tensor | None = None
    b_recurrent_G: Tensor | None = None

    @property
    def bias(self) -> Tensor | None:
        """The sum of both biases, where only that matters; None without biases."""
        if self.b_G is None or self.b_recurrent_G is None:
            return None
        return self.b_G + self.b_recurrent_G


def autocast_dtype(weight: Tensor) -> torch.dtype | None:
    """The precision of products with this weight under autocast; None if autocast does not change
    it."""
    device = weight.device.type
    if weight.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return None
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def state_dtype(weight: Tensor) -> torch.dtype:
    """The precision in which states are carried from step to step: that of the weights, or float32
    if autocast changes that of the products."""
    if autocast_dtype(weight) in (None, weight.dtype):
        return weight.dtype
    return torch.float32


def affine(a_BG: Tensor, h_BH: Tensor, u_HG: Tensor) -> Tensor:
    """a + h U in the precision of h: under autocast the product is 16-bit, but states and pointwise
    arithmetic are not."""
    return torch.addmm(a_BG, h_BH, u_HG).to(h_BH.dtype)


def arguments(module: nn.RNNBase) -> dict[str, Any]:
    """The arguments that build another module of the same shape, by name."""
    names = [
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
    ]
    names += [name for name in ("nonlinearity",) if hasattr(module, name)]
    weight: Any = module.weight_hh_l0
    arguments = {name: getattr(module, name) for name in names}
    if module.proj_size != 0:
        arguments["proj_size"] = module.proj_size
    return arguments | {"device": weight.device, "dtype": weight.dtype}


def copy_weights(source: nn.RNNBase, target: nn.RNNBase) -> None:
    """Copy the weights, their `requires_grad`, and the module's `training`."""
    with torch.no_grad():
        for name, parameter in source.named_parameters():
            copy = target.get_parameter(name)
            copy.copy_(parameter)
            copy.requires_grad_(parameter.requires_grad)
    target.train(source.training)
