"""Weight noise (spec section 9.9): once per update, N(0, sigma^2) on every weight matrix, and on
nothing else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zoneout_core.masking import streams


@torch.no_grad()
def noise_(matrices: Sequence[Tensor], sigma: float, *, seed: int, update: int) -> None:
    """Add noise of standard deviation `sigma` to the weight matrices of one lane, in place.

    matrices: views of a copy of the lane's row, in the order of its layout, on which the numbers
    depend. The gradient at the noisy weights updates the clean ones, and an evaluation uses the
    clean ones. update: all time steps and examples of one update see the same noise.
    """
    assert sigma >= 0, sigma
    if sigma == 0 or not matrices:
        return
    generator = streams.generator(seed, "weight_noise", counter=update, device=matrices[0].device)
    for matrix in matrices:
        noise = torch.randn(
            matrix.shape, generator=generator, dtype=matrix.dtype, device=matrix.device
        )
        matrix.add_(noise, alpha=sigma)
