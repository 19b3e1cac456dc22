"""Masks are Bernoulli(z), word position by word position, and independent of each other."""

from math import sqrt

import pytest
import torch
from torch import Tensor

from zoneout_core import masks
from zoneout_core.streams import Purpose, generator

SHAPE = (100, 32, 100)
LIMIT = 4.5
"""Standard deviations; the seeds are fixed, so a sound draw passes always."""


def drawn(z: float, purpose: Purpose = "masks_cells", step: int = 0, seed: int = 0) -> Tensor:
    return masks.draw_(torch.empty(SHAPE, dtype=torch.bool), z, generator(seed, purpose, step))


def deviation(mask: Tensor, z: float) -> float:
    """How many standard deviations the number of True is off."""
    n = mask.numel()
    return abs(float(mask.sum()) - n * z) / sqrt(n * z * (1 - z))


@pytest.mark.parametrize("z", [0.05, 0.25, 0.5, 0.75, 0.95])
def test_every_word_position_has_probability_z(z: float) -> None:
    words = drawn(z).flatten().view(-1, 4)
    for position in range(4):
        assert deviation(words[:, position], z) < LIMIT, position


@pytest.mark.parametrize("z", [1 / 3, 0.001, 0.999])
def test_probability_is_right_along_every_axis(z: float) -> None:
    mask = drawn(z)
    assert deviation(mask, z) < LIMIT
    for axis in range(3):
        for index in range(0, SHAPE[axis], 7):
            assert deviation(mask.select(axis, index), z) < LIMIT, (axis, index)


def correlation(a: Tensor, b: Tensor) -> float:
    """Of two masks, in standard deviations from 0."""
    rows = torch.stack([a.flatten(), b.flatten()]).double()
    return abs(float(torch.corrcoef(rows)[0, 1])) * sqrt(a.numel())


@pytest.mark.parametrize("other", [("masks_states", 0, 0), ("masks_cells", 1, 0), ("masks_cells", 0, 1)], ids=str)
def test_masks_of_other_streams_are_uncorrelated(other: tuple[Purpose, int, int]) -> None:
    assert correlation(drawn(0.5), drawn(0.5, *other)) < LIMIT


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8, 100, 3200])
def test_positions_within_a_mask_are_uncorrelated(distance: int) -> None:
    mask = drawn(0.5).flatten()
    assert correlation(mask[distance:], mask[:-distance]) < LIMIT


def test_zero_and_one_are_exact_and_draw_nothing() -> None:
    source = generator(0, "masks_cells", 0)
    before = source.get_state()
    assert not masks.draw_(torch.ones(SHAPE, dtype=torch.bool), 0.0, source).any()
    assert masks.draw_(torch.zeros(SHAPE, dtype=torch.bool), 1.0, source).all()
    assert torch.equal(source.get_state(), before)


def test_probabilities_are_multiples_of_two_to_the_minus_16() -> None:
    assert torch.equal(drawn(0.3), drawn(round(0.3 * 2**16) / 2**16))
    assert not torch.equal(drawn(0.3), drawn(0.3 + 2**-15))
    assert not drawn(2**-18).any()
    smallest = drawn(2**-16)
    assert deviation(smallest, 2**-16) < LIMIT


def test_a_lane_of_a_buffer_is_filled_as_if_alone() -> None:
    buffer = torch.zeros(3, 5, 3, 7, dtype=torch.bool)
    words = masks.words_for(buffer[0].numel(), "cpu")
    masks.draw_(buffer[1], 0.5, generator(0, "masks_cells", 0), words)
    alone = masks.draw_(torch.empty(5, 3, 7, dtype=torch.bool), 0.5, generator(0, "masks_cells", 0))
    assert torch.equal(buffer[1], alone)
    assert not buffer[[0, 2]].any()
