"""Weight noise (spec section 9.9): once per update, N(0, sigma^2) is added to every weight matrix,
and to nothing else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zoneout_core.masking import streams


@torch.no_grad()
def noise_(matrices: Sequence[Tensor], sigma: float, *, seed: int, update: int) -> None:
    """Add noise of standard deviation `sigma` to the weight matrices of one lane, in place.

    matrices: views of a copy of the lane's row. Their order, that of its layout, decides the
    numbers. The gradient at the noisy weights updates the clean weights, which evaluations use.
    update: all time steps and examples of an update have the same noise.
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
