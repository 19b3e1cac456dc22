"""The parameters that a lane starts from (spec section 2.3), drawn on the CPU from the trial's seed alone.

Shapes: V vocabulary, H hidden, G = 4H gates in the order i, f, o, g. All draws are float64 and are rounded
afterwards, so that every precision and device starts from the same numbers.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from zoneout_core import streams
from zoneout_core.config import ModelConfig

UNIFORM_WIDTH = 0.1
"""`uniform` draws from [-0.1, 0.1] (2017 code)."""


def initial(model: ModelConfig, vocabulary: int, seed: int) -> dict[str, Tensor]:
    """The parameters of one lane by name, float64, on the CPU.

    `w_VG` `u_HG` `b_G` are the recurrent layer's, `out_w_HV` `out_b_V` the output layer's. `h0_H` and `c0_H` are
    there only when the initial state is trainable. Biases are zero, but for the forget gate's (spec section 1).
    """
    hidden, gates = model.hidden, 4 * model.hidden
    generator = streams.generator(seed, "init", 0)
    matrix = MATRICES[model.init]
    parameters = {
        "w_VG": matrix(vocabulary, gates, generator),
        "u_HG": matrix(hidden, gates, generator),
        "b_G": torch.zeros(gates, dtype=torch.float64),
        "out_w_HV": matrix(hidden, vocabulary, generator),
        "out_b_V": torch.zeros(vocabulary, dtype=torch.float64),
    }
    parameters["b_G"][hidden : 2 * hidden] = model.forget_bias
    if model.init_state == "trainable":
        parameters |= {name: torch.zeros(hidden, dtype=torch.float64) for name in ("h0_H", "c0_H")}
    return parameters


def whole(rows: int, columns: int, generator: Generator) -> Tensor:
    """One random matrix [rows, columns] whose shorter side is orthonormal; entries have sd 1/sqrt(longer side).

    Reading (b) of spec section 2.3. QR with positive diagonal is uniform over such matrices, as the SVD there is.
    """
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(tall)
    orthonormal: Tensor = q * r.diagonal().sign()
    return orthonormal if rows >= columns else orthonormal.T


def blocks(rows: int, columns: int, generator: Generator) -> Tensor:
    """[rows, columns] tiled with independent orthogonal squares of the shorter side k, the last one cut.

    Reading (a) of spec section 2.3 wherever that is defined (k divides the longer side); entries have sd 1/sqrt(k).
    """
    k, longer = sorted((rows, columns))
    squares = [whole(k, k, generator) for _ in range(-(-longer // k))]
    return torch.cat(squares, dim=0 if rows > columns else 1)[:rows, :columns]


def uniform(rows: int, columns: int, generator: Generator) -> Tensor:
    """[rows, columns] of independent uniform numbers from -0.1 to 0.1."""
    draws = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return (2.0 * draws - 1.0) * UNIFORM_WIDTH


MATRICES: dict[str, Callable[[int, int, Generator], Tensor]] = {"blocks": blocks, "whole": whole, "uniform": uniform}
