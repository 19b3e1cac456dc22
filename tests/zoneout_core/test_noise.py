"""Weight noise: on matrices only, of the right size, from a stream of its own; the gradient at the
noisy point."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zoneout_core.cells.lstm import LSTM
from zoneout_core.masking.noise import noise_
from zoneout_core.masking.sites import Sites

SIGMA = 0.075


def noisy(seed: int = 3, step: int = 7, sigma: float = SIGMA) -> list[Tensor]:
    matrices = [torch.zeros(200, 300), torch.zeros(50, 40, dtype=torch.float64)]
    noise_(matrices, sigma, seed=seed, update=step)
    return matrices


def test_noise_is_normal_with_the_given_deviation() -> None:
    first, second = noisy()
    for matrix in (first.double(), second):
        n = matrix.numel()
        assert abs(float(matrix.mean())) < 4.5 * SIGMA / n**0.5
        assert abs(float(matrix.std()) - SIGMA) < 4.5 * SIGMA / (2 * n) ** 0.5
    beyond_two = float((first.abs() > 2 * SIGMA).double().mean())
    assert beyond_two == pytest.approx(0.0455, abs=0.004)


def test_noise_follows_from_seed_and_step_alone() -> None:
    torch.manual_seed(1)
    first = noisy()
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, noisy(), strict=True))
    for other in (noisy(seed=4), noisy(step=8)):
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_noise_is_added_to_views_of_a_row_and_to_nothing_else() -> None:
    row_P = torch.ones(100)
    noise_([row_P[10:40].view(5, 6)], SIGMA, seed=0, update=0)
    assert (row_P[:10] == 1).all()
    assert (row_P[40:] == 1).all()
    assert (row_P[10:40] != 1).all()


def test_without_a_deviation_nothing_is_drawn() -> None:
    row_P = torch.ones(6).requires_grad_(False)
    noise_([row_P.view(2, 3)], 0.0, seed=0, update=0)
    noise_([], SIGMA, seed=0, update=0)
    assert (row_P == 1).all()


def blocks(gates: dict[str, Any]) -> Tensor:
    """An oracle's four gates side by side, in the order of the cell's blocks."""
    return torch.cat([torch.tensor(gates[gate], dtype=torch.float64) for gate in "ifog"], dim=-1)


def test_the_gradient_at_the_noisy_weights_is_the_oracles(oracles: dict[str, Any]) -> None:
    oracle, given = oracles["weight_noise"], oracles["inputs"]
    tensors = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in given.items()
        if isinstance(value, list)
    }
    clean = {"w_DG": "Wx", "u_HG": "Wh", "b_G": "b"}
    p = {name: blocks(given["lstm"][key]) for name, key in clean.items()}
    p["w_DG"] += blocks(oracle["noise_Wx"])
    p["u_HG"] += blocks(oracle["noise_Wh"])
    for leaf in p.values():
        leaf.requires_grad_()
    h_TBH, c_TBH = (
        LSTM().run(p, tensors["X"], (tensors["h0"], tensors["c0"]), Sites(), training=True).states
    )
    loss = (h_TBH * tensors["loss_weights_h"]).sum() + (c_TBH * tensors["loss_weights_c"]).sum()
    loss.backward()
    assert loss.item() == pytest.approx(oracle["loss"], abs=1e-12)
    for name, key in clean.items():
        gradient = p[name].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, blocks(oracle["grads"][key]), rtol=0, atol=1e-10)
