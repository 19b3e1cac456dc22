"""The kernels are precise relatively, however small the numbers are: Adam divides a gradient by its
size.

Float32 against float64. A unit in the last place (ulp) of a result is the distance to the next
float32.
"""

from dataclasses import replace
from math import log10

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.lanes import Lanes, loop_choice, random_lanes, run, torch_choice
from tests.zoneout_core.test_kernels_lanes import CELLS, cells, sites_of
from zoneout_core.cells import Cell
from zoneout_core.kernels import pointwise, switches

INF, NAN = float("inf"), float("nan")
ULPS = 4.0
RANGES = [
    (1e-45, 1e-38),
    (1e-38, 1e-20),
    (1e-20, 1e-4),
    (1e-4, 0.3),
    (0.3, 1.0),
    (1.0, 12.0),
    (12.0, 3e38),
]
SIZES = [0.1, 1e-3, 1e-6, 1e-9, 1e-20, 1e-30]


def tanh(x: Tensor) -> Tensor:
    """By the kernels', as three lanes."""
    x_KN = x.clone().view(3, -1)
    pointwise.tanh(x_KN, x_KN.unbind(), torch.empty_like(x_KN), out=x_KN)
    return x_KN.flatten()


def ulps(found: Tensor, truth: Tensor) -> Tensor:
    """How many ulp lie between them; truth in a wider dtype."""
    size = truth.abs().to(found.dtype)
    ulp = torch.nextafter(size, torch.full_like(size, INF)).to(truth.dtype) - size.to(truth.dtype)
    return (found.to(truth.dtype) - truth).abs() / ulp


def spread(low: float, high: float, count: int = 300_000) -> Tensor:
    """Float32 from all orders of magnitude between them, of both signs."""
    x = torch.logspace(log10(low), log10(high), count, dtype=torch.float64)
    return torch.cat([x, -x]).float()


@pytest.mark.parametrize(("low", "high"), RANGES, ids=str)
def test_tanh_is_within_4_ulp(low: float, high: float) -> None:
    x = spread(low, high)
    assert float(ulps(tanh(x), x.double().tanh()).max()) <= ULPS


@pytest.mark.parametrize(("low", "high"), RANGES[1:6], ids=str)
def test_tanh_is_within_4_ulp_in_float64(low: float, high: float) -> None:
    """Against torch's, which is within one."""
    x = spread(low, high).double() * (1 + 2**-30)
    assert float(ulps(tanh(x), x.tanh()).max()) <= ULPS + 1


def test_tanh_of_what_is_no_usual_number() -> None:
    x = torch.tensor([INF, -INF, NAN, 0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 88.8, -88.8, 40.0])
    found = tanh(x)
    assert found.isnan().tolist() == x.isnan().tolist()
    assert found.nan_to_num(7.0).tolist() == [
        1,
        -1,
        7,
        0,
        0,
        x[5].item(),
        x[6].item(),
        1,
        -1,
        1,
        -1,
        1,
    ]
    assert torch.signbit(found).tolist() == torch.signbit(x).tolist()


def test_tanh_as_it_once_was_is_there_for_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what this file is against."""
    x = spread(1e-9, 1e-6)
    monkeypatch.setattr(switches, "TANH_BY_SIGMOID", True)
    assert torch.equal(tanh(x), x.mul(2).sigmoid().mul(2).sub(1))
    assert float(ulps(tanh(x), x.double().tanh()).max()) > 1000
    assert switches.note() == "; ZONEOUT_TANH=sigmoid"


@pytest.mark.parametrize("x", [-80.0, -20.0, -1.0, 0.0, 20.0])
def test_sigmoid_is_within_4_ulp_where_it_is_small_too(x: float) -> None:
    x_N = torch.full((99,), x).mul_(torch.linspace(0.9, 1.0, 99))
    found = x_N.clone()
    pointwise.sigmoid_([found])
    assert float(ulps(found, x_N.double().sigmoid()).max()) <= ULPS


def small(size: float, cell: Cell, sites: list[str], *, dense: bool) -> Lanes:
    """Lanes whose every activation is of about this size, through inputs, biases and states that
    are."""
    lanes = random_lanes(3, cell=cell, sites=sites, dense=dense)
    p = {name: one * size if name in ("b_G", "v_H") or (name == "w_DG" and not dense) else one * 0.3
         for name, one in lanes.p.items()}  # fmt: skip
    state = tuple(one * size for one in lanes.state)
    small = replace(lanes, p=p, state=state, x=lanes.x * size if dense else lanes.x)
    return small.each(lambda one: one.float().double() if one.is_floating_point() else one)


@pytest.mark.parametrize("kind", ["tokens", "dense"])
@pytest.mark.parametrize("size", SIZES)
@CELLS
def test_small_activations_and_their_gradients_are_as_precise_as_large_ones(
    cell: Cell, size: float, kind: str
) -> None:
    """Each result over its own largest entry, whatever that is."""
    lanes = small(size, cell, [site for site in ("keep_cells", "keep_states") if site in sites_of(cell)],
                  dense=kind == "dense")  # fmt: skip
    truth = run(lanes, loop_choice("float64"))
    single = lanes.each(lambda one: one.float() if one.is_floating_point() else one)
    found = run(single, torch_choice("float32", lanes))
    for name, value in truth.items():
        largest = float(value.abs().max())
        assert largest > 0, name
        assert float((found[name].double() - value).abs().max()) <= 1e-5 * largest, name


def test_every_kernel_is_among_the_cells() -> None:
    assert {type(cell).__name__ for cell in cells()} == {"LSTM", "GRU", "RNN"}
