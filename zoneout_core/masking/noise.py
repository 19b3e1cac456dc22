"""Weight noise (spec section 9.9): once per update, N(0, sigma^2) on every weight matrix, and not
on anything else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zoneout_core.masking import streams


@torch.no_grad()
def noise_(matrices: Sequence[Tensor], sigma: float, seed: int, step: int) -> None:
    """Add noise of standard deviation `sigma` to the weight matrices of one lane, in place.

    matrices: of a copy of the lane's row, in the order of its layout, which is part of what a seed
    means. The gradient at the noisy weights is what the clean ones are updated with; an evaluation
    uses the clean ones. step: the update, so that all its time steps and examples see the same
    noise.
    """
    assert sigma >= 0, sigma
    if sigma == 0 or not matrices:
        return
    generator = streams.generator(seed, "weight_noise", step, matrices[0].device)
    for matrix in matrices:
        drawn = torch.randn(
            matrix.shape, generator=generator, dtype=matrix.dtype, device=matrix.device
        )
        matrix.add_(drawn, alpha=sigma)
