"""The initial parameters of a lane (spec sections 2.3, 3, 5), drawn on the CPU from the trial's
seed alone.

All draws are float64 and rounded afterwards, so every precision and device starts from the same
numbers.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from zoneout_core.config.trial import ModelConfig
from zoneout_core.masking import streams


class InitialDraw:
    """Draws parameters one after the other (see `zoneout_core.cells.Draw`). The numbers depend on
    their order."""

    def __init__(self, model: ModelConfig, seed: int, restart: int = 0) -> None:
        """restart: the number of restarts of the trial (spec section 6); each draws other
        numbers."""
        self.model = model
        self._generator = streams.generator(seed, "init", counter=restart)

    def matrix(self, rows: int, columns: int) -> Tensor:
        """[rows, columns] as `model.init` says. `identity` (RBN's scripts) makes the matrix from
        hidden states to gates i, f, o, g the identity for g and one orthogonal matrix for the
        others; every other matrix is orthogonal."""
        model = self.model
        generator = self._generator
        if model.init == "uniform":
            return uniform(rows, columns, generator, model.init_width)
        recurrent_shape = (model.hidden_size, 4 * model.hidden_size)
        if model.init == "identity" and (rows, columns) == recurrent_shape:
            sigmoid_gates = orthogonal(rows, 3 * rows, generator)
            return torch.cat([sigmoid_gates, torch.eye(rows, dtype=torch.float64)], dim=1)
        return MATRICES[model.init](rows, columns, generator)

    def bias(self, *shape: int) -> Tensor:
        """Zeros, or uniform numbers with `model.init_biases=uniform`."""
        if self.model.init_biases == "uniform":
            count = torch.Size(shape).numel()
            return uniform(1, count, self._generator, self.model.init_width).view(shape)
        return torch.zeros(shape, dtype=torch.float64)

    def full(self, value: float, *shape: int) -> Tensor:
        """A constant."""
        return torch.full(shape, value, dtype=torch.float64)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Independent normal numbers around 0."""
        return torch.randn(shape, generator=self._generator, dtype=torch.float64) * deviation


def orthogonal(rows: int, columns: int, generator: Generator) -> Tensor:
    """A random matrix [rows, columns] whose vectors along the longer side are orthonormal; entries
    have sd 1/sqrt(longer side).

    Reading (b) of spec section 2.3. QR with positive diagonal is uniform over such matrices, as the
    SVD there is.
    """
    tall = torch.randn(
        max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64
    )
    q, r = torch.linalg.qr(tall)
    orthonormal: Tensor = q * r.diagonal().sign()
    if rows >= columns:
        return orthonormal
    return orthonormal.T


def blocks(rows: int, columns: int, generator: Generator) -> Tensor:
    """A matrix [rows, columns] tiled with independent orthogonal squares of the shorter side k, the
    last of them cut off.

    Reading (a) of spec section 2.3, where that is defined (k divides the longer side); entries have
    sd 1/sqrt(k).
    """
    k, longer = sorted((rows, columns))
    squares = [orthogonal(k, k, generator) for _ in range(-(-longer // k))]
    return torch.cat(squares, dim=0 if rows > columns else 1)[:rows, :columns]


def uniform(rows: int, columns: int, generator: Generator, width: float = 0.1) -> Tensor:
    """[rows, columns] of independent uniform numbers from -width to width."""
    draws = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return (2.0 * draws - 1.0) * width


MATRICES: dict[str, Callable[[int, int, Generator], Tensor]] = {
    "blocks": blocks,
    "orthogonal": orthogonal,
    "identity": orthogonal,
}
