"""Adam for one lane, with a clip over all parameters jointly (spec section 2.3; Kingma and Ba 2015).

A lane's parameters, gradient and moments are rows of P numbers. Every operation here is issued for one row at a
time, the norms included, so that no bit of a lane depends on its neighbours.
"""

from math import sqrt

import torch
from torch import Tensor

from zoneout_core.config import OptimConfig


def adam_step(
    weights_P: Tensor,
    gradient_P: Tensor,
    m_P: Tensor,
    v_P: Tensor,
    optim: OptimConfig,
    step: int,
    scratch_P: Tensor,
) -> Tensor:
    """Update number `step` (from 1) of one lane, in place; returns the gradient's L2 norm before clipping, 0-d.

    `clip="gradient"` scales the gradient before Adam, `clip="update"` scales the whole of Adam's step after it;
    both to a norm of at most `clip_norm`. `scratch_P` is overwritten. A norm that is not finite spoils this lane's
    rows: the caller has to look at it. Nothing here waits for the device.
    """
    norm: Tensor = torch.linalg.vector_norm(gradient_P)
    if optim.clip == "gradient":
        gradient_P.mul_(shrink(norm, optim.clip_norm))
    m_P.lerp_(gradient_P, 1.0 - optim.beta1)
    v_P.mul_(optim.beta2).addcmul_(gradient_P, gradient_P, value=1.0 - optim.beta2)

    rate = optim.learning_rate / (1.0 - optim.beta1**step)
    root_P = torch.sqrt(v_P, out=scratch_P).div_(sqrt(1.0 - optim.beta2**step)).add_(optim.eps)
    update_P = torch.div(m_P, root_P, out=scratch_P).mul_(rate)
    if optim.clip == "update":
        update_P.mul_(shrink(torch.linalg.vector_norm(update_P), optim.clip_norm))
    weights_P.sub_(update_P)
    return norm


def shrink(norm: Tensor, largest: float) -> Tensor:
    """The factor that brings a vector of this norm to at most `largest`: 1 where it is short enough."""
    factor: Tensor = largest / norm
    return factor.clamp(max=1.0)
