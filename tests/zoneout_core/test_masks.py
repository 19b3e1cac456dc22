"""Masks are Bernoulli(z), word position by word position, and independent of each other; programs
become sites."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.masking import drawing, mask_values, stacking
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.masking.sites import Sites
from zoneout_core.masking.streams import Purpose, generator
from zoneout_core.regularizers import Mask

SHAPE = (100, 32, 100)
LIMIT = 4.5
"""Standard deviations; the seeds are fixed, so a sound draw passes always."""


def drawn(z: float, purpose: Purpose = "masks_cells", step: int = 0, seed: int = 0) -> Tensor:
    return mask_values.draw_(
        torch.empty(SHAPE, dtype=torch.bool), z, generator(seed, purpose, counter=step)
    )


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


@pytest.mark.parametrize(
    "other", [("masks_states", 0, 0), ("masks_cells", 1, 0), ("masks_cells", 0, 1)], ids=str
)
def test_masks_of_other_streams_are_uncorrelated(other: tuple[Purpose, int, int]) -> None:
    assert correlation(drawn(0.5), drawn(0.5, *other)) < LIMIT


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8, 100, 3200])
def test_positions_within_a_mask_are_uncorrelated(distance: int) -> None:
    mask = drawn(0.5).flatten()
    assert correlation(mask[distance:], mask[:-distance]) < LIMIT


def test_zero_and_one_are_exact_and_draw_nothing() -> None:
    source = generator(0, "masks_cells", counter=0)
    before = source.get_state()
    assert not mask_values.draw_(torch.ones(SHAPE, dtype=torch.bool), 0.0, source).any()
    assert mask_values.draw_(torch.zeros(SHAPE, dtype=torch.bool), 1.0, source).all()
    assert torch.equal(source.get_state(), before)


def test_probabilities_are_multiples_of_two_to_the_minus_16() -> None:
    assert torch.equal(drawn(0.3), drawn(round(0.3 * 2**16) / 2**16))
    assert not torch.equal(drawn(0.3), drawn(0.3 + 2**-15))
    assert not drawn(2**-18).any()
    smallest = drawn(2**-16)
    assert deviation(smallest, 2**-16) < LIMIT


def test_a_lane_of_a_buffer_is_filled_as_if_alone() -> None:
    buffer = torch.zeros(3, 5, 3, 7, dtype=torch.bool)
    words = mask_values.words_for(buffer[0].numel(), "cpu")
    mask_values.draw_(buffer[1], 0.5, generator(0, "masks_cells", counter=0), words)
    alone = mask_values.draw_(
        torch.empty(5, 3, 7, dtype=torch.bool), 0.5, generator(0, "masks_cells", counter=0)
    )
    assert torch.equal(buffer[1], alone)
    assert not buffer[[0, 2]].any()


# Programs


ZONEOUT = TrialConfig().with_values({"z_cells": 0.5, "z_states": 0.05}).regularizer.program()
LAYER = LayerShape(steps=100, batch=32, inputs=1, hidden=100)
DRAW = MaskDraw(program=ZONEOUT, shape=LAYER, layer=0, seed=7, counter=3)
EXPECTED = replace(DRAW, evaluation=True, dtype=torch.float64)


def test_zoneout_of_the_first_layer_is_drawn_as_it_always_was() -> None:
    """Numbers of published trials hang on it."""
    sites = drawing.layer_sites(DRAW)
    assert sites.present().keys() == {"keep_cells", "keep_states"}
    for mask, z, purpose in (
        (sites.keep_cells, 0.5, "masks_cells"),
        (sites.keep_states, 0.05, "masks_states"),
    ):
        assert mask is not None
        assert torch.equal(mask, drawn(z, purpose, step=3, seed=7))


def test_expectations_are_numbers_of_the_dtype_asked_for() -> None:
    sites = drawing.layer_sites(EXPECTED)
    assert sites.keep_states is not None
    assert (sites.keep_states.shape, sites.keep_states.dtype) == ((1, 1, 1), torch.float64)
    assert sites.keep_states.item() == 0.05


def test_several_masks_at_one_site_act_together() -> None:
    both = TrialConfig().with_values(
        {"z_cells": 0.5, "z_depth": 0.2, "p_recurrent": 0.3, "p_gate": 0.4}
    )
    (gain_1, gain_2), (keep_1, keep_2) = (
        [m for m in both.regularizer.program() if m.site == site]
        for site in ("update", "keep_cells")
    )

    def one(mask: Mask, *, evaluation: bool = False) -> Tensor:
        tensor = getattr(
            drawing.layer_sites(replace(DRAW, program=(mask,), evaluation=evaluation)),
            mask.site,
        )
        assert isinstance(tensor, Tensor)
        return tensor

    sites = drawing.layer_sites(replace(DRAW, program=both.regularizer.program()))
    assert sites.update is not None
    assert torch.equal(sites.update, one(gain_1) * one(gain_2))
    assert sites.keep_cells is not None
    assert torch.equal(sites.keep_cells, one(keep_1) | one(keep_2))
    stands = drawing.layer_sites(replace(EXPECTED, program=both.regularizer.program()))
    assert stands.keep_cells is not None
    assert stands.keep_cells.item() == pytest.approx(1 - 0.5 * 0.8)
    assert stands.update is not None
    assert stands.update.item() == pytest.approx(0.7 * 0.6)


def test_a_stack_gives_lanes_what_they_have_and_neutral_numbers_for_what_they_have_not() -> None:
    zoned = drawing.layer_sites(DRAW)
    scaled = Sites(update=torch.full((1, 32, 1), 1.25))
    tied, untied = (
        Sites(recurrent=torch.full((1, 32, 100), 2.0)),
        Sites(recurrent=torch.rand(1, 32, 4, 100)),
    )
    stacked = stacking.stack([zoned, scaled, tied, untied])
    assert stacked.keep_cells is not None
    assert stacked.keep_cells.dtype == torch.bool
    assert stacked.keep_cells.shape == (4, 100, 32, 100)
    assert not stacked.keep_cells[1:].any()
    assert stacked.update is not None
    assert stacked.update.shape == (4, 1, 32, 1)
    assert stacked.update[:, 0, 0, 0].tolist() == [1.0, 1.25, 1.0, 1.0]
    assert stacked.recurrent is not None
    assert stacked.recurrent.shape == (4, 1, 32, 4, 100)
    assert [float(lane.max()) for lane in stacked.recurrent[:3]] == [1.0, 1.0, 2.0]
    assert untied.recurrent is not None
    assert torch.equal(stacked.recurrent[3], untied.recurrent)
    assert stacked.cells is None


def test_a_stack_of_one_copies_nothing() -> None:
    zoned = drawing.layer_sites(DRAW)
    stacked = stacking.stack([zoned])
    assert zoned.keep_cells is not None
    assert stacked.keep_cells is not None
    assert stacked.keep_cells.shape == (1, 100, 32, 100)
    assert stacked.keep_cells.data_ptr() == zoned.keep_cells.data_ptr()


def test_lanes_with_different_output_gates_are_no_pack() -> None:
    gate = torch.ones(1, 1, 1)
    with pytest.raises(AssertionError, match="different forms of the output gate"):
        stacking.stack(
            [Sites(gate=gate, gate_form="intent"), Sites(gate=gate, gate_form="literal")]
        )
    assert stacking.stack([Sites(gate=gate, gate_form="intent"), Sites()]).gate_form == "intent"


def test_no_number_stands_for_a_cells_own_expectation() -> None:
    with pytest.raises(AssertionError, match="all lanes draw masks of their own, or none"):
        stacking.stack([Sites(uniform=torch.rand(2, 3, 4)), Sites()])


def test_gains_of_embedding_and_outputs_stack_too() -> None:
    gain = torch.full((1, 3, 5), 2.0)
    assert stacking.stack_gains([None, None]) is None
    stacked = stacking.stack_gains([None, gain])
    assert stacked is not None
    assert stacked.shape == (2, 1, 3, 5)
    assert [float(lane.mean()) for lane in stacked] == [1.0, 2.0]


def test_two_gains_on_the_outputs_multiply() -> None:
    values = [
        {"p_outputs": 0.5},
        {"p_sequence_outputs": 0.2},
        {"p_outputs": 0.5, "p_sequence_outputs": 0.2},
    ]
    first, second, both = (
        drawing.outputs_gain(
            replace(DRAW, program=TrialConfig().with_values(one).regularizer.program())
        )
        for one in values
    )
    assert first is not None
    assert second is not None
    assert both is not None
    assert first.shape == both.shape == (100, 32, 100)
    assert second.shape == (1, 32, 100)
    assert torch.equal(both, first * second)


# Rates of units


def of_units(mask: Mask, draws: int = 400) -> Tensor:
    """Many draws of a mask, [draws * T * B, U]."""
    shape = LayerShape(steps=10, batch=8, inputs=1, hidden=9)
    drawn = [
        getattr(
            drawing.layer_sites(replace(DRAW, program=(mask,), shape=shape, counter=step)),
            mask.site,
        )
        for step in range(draws)
    ]
    return torch.cat([one.flatten(0, 1) for one in drawn]).double()


SPREADS = [(0.5, 0.3, 0.2, 0.8), (0.8, 0.4, 0.4, 1.0), (0.1, 0.2, 0.0, 0.3)]


@pytest.mark.parametrize(("z", "spread", "low", "high"), SPREADS)
@pytest.mark.parametrize("gaussian", [False, True])
def test_every_unit_has_the_mean_and_variance_of_its_own_rate(
    gaussian: bool, z: float, spread: float, low: float, high: float
) -> None:
    """A Gaussian mask has those of the Bernoulli mask that it stands for: z and z (1 - z)."""
    values = {"z_cells": z, "z_spread": spread, "gaussian_masks": gaussian}
    (mask,) = TrialConfig().with_values(values).regularizer.program()
    drawn_NU = of_units(mask)
    rate_U = torch.linspace(z - spread, z + spread, 9, dtype=torch.float64).clamp(0, 1)
    assert rate_U[0] == pytest.approx(low)
    assert rate_U[-1] == pytest.approx(high)
    assert torch.equal(mask_values.rates(mask, 9, "cpu"), rate_U)
    variance_U = rate_U * (1 - rate_U)
    n = len(drawn_NU)
    torch.testing.assert_close(drawn_NU.mean(0), rate_U, rtol=0, atol=LIMIT * 0.5 / sqrt(n))
    torch.testing.assert_close(drawn_NU.var(0), variance_U, rtol=0, atol=LIMIT * 0.5 / sqrt(n))
    fixed = variance_U == 0
    assert torch.equal(drawn_NU[:, fixed], rate_U[fixed].expand(n, -1))
    assert ((drawn_NU == 0) | (drawn_NU == 1)).all() != gaussian


def test_an_evaluation_has_each_units_own_rate() -> None:
    for gaussian in (False, True):
        values = {"z_cells": 0.5, "z_spread": 0.3, "gaussian_masks": gaussian}
        (mask,) = TrialConfig().with_values(values).regularizer.program()
        stands = drawing.layer_sites(replace(EXPECTED, program=(mask,))).keep_cells
        assert stands is not None
        assert torch.equal(stands[0, 0], mask_values.rates(mask, 100, "cpu"))
    around_0 = replace(mask, probability=0.0, expected=0.0)
    stands = drawing.layer_sites(replace(EXPECTED, program=(around_0,))).keep_cells
    assert stands is not None
    assert float(stands.max()) == 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_real_masks_have_the_dtype_asked_for(dtype: torch.dtype) -> None:
    """Gaussian ones, and scaled ones; those of zeros and ones are bool."""
    for values, site, wanted in (
        ({"z_cells": 0.5, "gaussian_masks": True}, "keep_cells", dtype),
        ({"p_recurrent": 0.5, "recurrent_scale": "inverted"}, "update", dtype),
        ({"z_cells": 0.5}, "keep_cells", torch.bool),
    ):
        program = TrialConfig().with_values(values).regularizer.program()
        assert (
            getattr(
                drawing.layer_sites(replace(DRAW, program=program, dtype=dtype)),
                site,
            ).dtype
            == wanted
        ), values


def test_a_decoders_first_layer_is_a_first_layer_whatever_its_number() -> None:
    mask = Mask(
        site="inputs",
        key="regularizer.non_recurrent_dropout.p_inputs",
        strength=0.5,
        probability=0.5,
        expected=0.5,
        stream="masks_cells",
        layers="first",
    )
    shape = LayerShape(steps=2, batch=3, inputs=5, hidden=4)
    for layer, first, stands in (
        (0, None, True),
        (1, None, False),
        (2, True, True),
        (0, False, False),
    ):
        assert (
            drawing.layer_sites(
                replace(DRAW, program=(mask,), shape=replace(shape, first=first), layer=layer)
            ).inputs
            is not None
        ) == stands
    embedding = drawing.embedding_gain(
        replace(DRAW, program=(replace(mask, site="embedding", shared=("time",)),), shape=shape)
    )
    assert embedding is not None
    assert embedding.shape == (1, 3, 5)
