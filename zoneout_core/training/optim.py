"""Optimizers for one lane, with a clip over all parameters jointly (spec sections 2.3, 3, 5 and
11.2).

A lane's parameters, gradient and moments are rows of P numbers. Every operation, norms included, is
issued for one row at a time, so no bit of a lane depends on its neighbours. Nothing waits for the
device.
"""

from collections.abc import Sequence
from math import inf, sqrt

import torch
from torch import Tensor

from zoneout_core.config.trial import OptimConfig


def update(
    weights_P: Tensor,
    gradient_P: Tensor,
    m_P: Tensor,
    v_P: Tensor,
    optim: OptimConfig,
    number: int,
    scratch_P: Tensor,
    learning_rate: float | None = None,
) -> Tensor:
    """Update `number` (from 1) of one lane, in place; returns the gradient's L2 norm before
    clipping, 0-d.

    `clip="gradient"` scales the gradient before the optimizer, `clip="update"` scales the
    optimizer's update; both to a norm of at most `clip_norm`. `scratch_P` is overwritten. A norm
    that is not finite spoils this lane's rows, so the caller must check it. learning_rate: for this
    update; by default the configured one.
    """
    rate = optim.learning_rate if learning_rate is None else learning_rate
    norm: Tensor = torch.linalg.vector_norm(gradient_P)
    if optim.clip == "gradient":
        gradient_P.mul_(shrink(norm, optim.clip_norm))
    match optim.optimizer:
        case "adam":
            update_P = _adam(gradient_P, m_P, v_P, optim, number, scratch_P, rate)
        case "rmsprop":
            update_P = _rmsprop(gradient_P, v_P, optim, scratch_P, rate)
        case "sgd":
            update_P = torch.mul(gradient_P, rate, out=scratch_P)
    if optim.clip == "update":
        update_P.mul_(shrink(torch.linalg.vector_norm(update_P), optim.clip_norm))
    weights_P.sub_(update_P)
    if optim.weight_decay:
        weights_P.mul_(1.0 - optim.weight_decay)
    return norm


def _adam(
    gradient_P: Tensor,
    m_P: Tensor,
    v_P: Tensor,
    optim: OptimConfig,
    number: int,
    scratch_P: Tensor,
    rate: float,
) -> Tensor:
    """Adam's update (Kingma and Ba 2015), bias-corrected, in `scratch_P`."""
    m_P.lerp_(gradient_P, 1.0 - optim.beta1)
    v_P.mul_(optim.beta2).addcmul_(gradient_P, gradient_P, value=1.0 - optim.beta2)
    root_P = torch.sqrt(v_P, out=scratch_P).div_(sqrt(1.0 - optim.beta2**number)).add_(optim.eps)
    return torch.div(m_P, root_P, out=scratch_P).mul_(rate / (1.0 - optim.beta1**number))


def _rmsprop(
    gradient_P: Tensor, v_P: Tensor, optim: OptimConfig, scratch_P: Tensor, rate: float
) -> Tensor:
    """The update of Blocks' RMSProp (spec section 5), in `scratch_P`: the mean square starts at 0,
    and its root has a floor."""
    v_P.mul_(optim.decay_rate).addcmul_(gradient_P, gradient_P, value=1.0 - optim.decay_rate)
    root_P = torch.sqrt(v_P, out=scratch_P).clamp_(min=optim.rms_floor)
    return torch.div(gradient_P, root_P, out=scratch_P).mul_(rate)


def scheduled(optim: OptimConfig, epoch: int, objectives: Sequence[float]) -> float:
    """The learning rate in `epoch` (from 1), after epochs with these objectives (lower is
    better)."""
    match optim.schedule:
        case "constant":
            divisions = 0
        case "decay":
            divisions = max(0, epoch - optim.decay_after)
        case "plateau":
            divisions = sum(
                value >= min(objectives[:k]) for k, value in enumerate(objectives) if k > 0
            )
    try:
        return optim.learning_rate / optim.decay_factor**divisions
    except OverflowError:  # the divisor is too large for a float
        return 0.0
    except ZeroDivisionError:  # the powers of a factor below 1 reach 0
        return inf


def shrink(norm: Tensor, largest: float) -> Tensor:
    """The factor that scales a vector of this norm to a norm of at most `largest`: 1 if it is short
    enough."""
    factor: Tensor = largest / norm
    return factor.clamp(max=1.0)
