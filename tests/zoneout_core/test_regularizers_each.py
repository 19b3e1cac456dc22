"""What single regularizers promise beyond the common suite: equations, oracles, modes and
refusals."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.masking import drawing, mask_values
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.masking.program import monte_carlo
from zoneout_core.masking.sites import Sites
from zoneout_core.regularizers import Mask
from zoneout_core.regularizers.norm_stabilizer import NormStabilizer

SHAPE = LayerShape(steps=20, batch=8, inputs=5, hidden=50)
DRAW = MaskDraw(program=(), shape=SHAPE, layer=0, seed=3, counter=0)


def program(**values: Any) -> tuple[Mask, ...]:
    return TrialConfig().with_values(values).regularizer.program()


def drawn(step: int = 0, *, evaluation: bool = False, **values: Any) -> Sites:
    return drawing.layer_sites(
        replace(DRAW, program=program(**values), counter=step, evaluation=evaluation)
    )


def same(a: Tensor | None, b: Tensor | None) -> bool:
    assert a is not None
    assert b is not None
    return torch.equal(a, b)


# Zoneout and what changes its masks


def test_a_shared_mask_is_one_mask() -> None:
    sites = drawn(z_cells=0.4, z_states=0.4, zoneout_mask="shared")
    assert same(sites.keep_cells, sites.keep_states)
    separate = drawn(z_cells=0.4, z_states=0.4)
    assert same(sites.keep_cells, separate.keep_cells)
    assert not same(separate.keep_cells, separate.keep_states)


def test_zoneout_of_one_keeps_everything_and_of_zero_has_no_mask() -> None:
    sites = drawn(z_cells=1.0)
    assert sites.keep_cells is not None
    assert sites.keep_cells.all()
    assert sites.keep_states is None


def test_rates_of_units_are_spread_evenly_within_bounds() -> None:
    (mask,) = program(z_cells=0.8, z_spread=0.4)
    rates_U = mask_values.rates(mask, 5, "cpu")
    assert rates_U.tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])
    many = LayerShape(steps=200, batch=40, inputs=1, hidden=5)
    keep = drawing.layer_sites(replace(DRAW, program=(mask,), shape=many)).keep_cells
    assert keep is not None
    assert keep.double().mean((0, 1)).tolist() == pytest.approx(rates_U.tolist(), abs=0.02)
    assert keep[..., 3:].all()
    stands = drawing.layer_sites(
        replace(DRAW, program=(mask,), shape=many, dtype=torch.float64, evaluation=True)
    ).keep_cells
    assert stands is not None
    assert stands.shape == (1, 1, 5)
    assert same(stands[0, 0], rates_U)
    (low,) = program(z_cells=0.2, z_spread=0.4)
    assert mask_values.rates(low, 5, "cpu").tolist() == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.6])


def test_gaussian_masks_have_mean_and_variance_of_the_bernoulli_masks() -> None:
    large = LayerShape(steps=100, batch=20, inputs=1, hidden=100)
    keep = drawing.layer_sites(
        replace(DRAW, program=program(z_cells=0.3, gaussian_masks=True), shape=large)
    ).keep_cells
    assert keep is not None
    assert keep.dtype == torch.float32
    assert (float(keep.mean()), float(keep.var())) == pytest.approx((0.3, 0.21), abs=0.004)
    assert float(keep.min()) < 0 < 1 < float(keep.max())  # not clipped


@pytest.mark.parametrize("mode", ["same", "code", "expectation"])
def test_static_masks_are_drawn_once_for_all_updates(mode: str) -> None:
    values = {"z_cells": 0.5, "z_states": 0.2, "static_masks": mode}
    training = drawn(0, **values)
    assert training.keep_cells is not None
    assert training.keep_cells.shape == (20, 1, 50)
    assert same(training.keep_cells, drawn(99, **values).keep_cells)
    assert not same(training.keep_cells[0], training.keep_cells[1])
    evaluation = drawn(0, evaluation=True, **values)
    assert same(evaluation.keep_states, drawn(1, evaluation=True, **values).keep_states)
    if mode == "expectation":
        assert evaluation.keep_states is not None
        assert evaluation.keep_states.item() == pytest.approx(0.2)
    else:
        assert same(evaluation.keep_cells, training.keep_cells) == (mode == "same")


def test_static_masks_of_a_shorter_run_are_the_first_of_a_longer() -> None:
    static = program(z_cells=0.5, static_masks="same")
    short = drawing.layer_sites(
        replace(DRAW, program=static, shape=LayerShape(steps=7, batch=3, inputs=1, hidden=50))
    ).keep_cells
    long = drawn(z_cells=0.5, static_masks="same").keep_cells
    assert short is not None
    assert long is not None
    assert same(short, long[:7])


# Dropout


def test_the_update_is_dropped_exactly_where_zoneout_preserves_if_they_share_a_mask() -> None:
    values = {"p_recurrent": 0.15, "z_cells": 0.15, "z_states": 0.15}
    sites = drawn(zoneout_mask="shared", recurrent_mask="zoneout", **values)
    assert sites.keep_cells is not None
    assert same(sites.update, ~sites.keep_cells)
    assert same(sites.keep_cells, sites.keep_states)
    gaussian = drawn(recurrent_mask="zoneout", gaussian_masks=True, **values)
    assert gaussian.keep_cells is not None
    assert same(gaussian.update, 1 - gaussian.keep_cells)


def test_the_output_gate_is_updated_exactly_where_the_cell_is() -> None:
    sites = drawn(p_gate=0.3)
    assert sites.gate_form == "intent"
    assert same(sites.update, sites.gate)
    stands = drawn(evaluation=True, p_gate=0.3)
    assert same(stands.update, stands.gate)
    assert stands.gate_form == "intent"


def test_stochastic_depth_skips_cells_and_states_together() -> None:
    sites = drawn(z_depth=0.3)
    assert same(sites.keep_cells, sites.keep_states)
    assert sites.keep_cells is not None
    assert sites.keep_cells.shape == (20, 8, 1)
    separate = drawn(z_depth=0.3, depth_mask="separate")
    assert not same(separate.keep_cells, separate.keep_states)
    batch = drawn(z_depth=0.3, depth_draw="batch").keep_states
    assert batch is not None
    assert batch.shape == (20, 1, 1)


def test_inverted_masks_are_scaled_in_training_and_gone_in_an_evaluation() -> None:
    values = {"p_recurrent": 0.2, "recurrent_scale": "inverted"}
    update = drawn(**values).update
    assert update is not None
    assert sorted(update.unique().tolist()) == [0.0, 1.25]
    assert drawn(evaluation=True, **values).update is None


def test_naive_dropout_of_cells_and_states_leaves_the_cell_whole_where_the_state_reads_it() -> None:
    assert drawn(p_cells=0.5).present().keys() == {"cells"}
    both = drawn(p_cells=0.5, p_states=0.5)
    assert both.present().keys() == {"carried", "states"}
    assert same(both.carried, drawn(p_cells=0.5).cells)


def test_dropout_on_inputs_is_of_the_first_layer_between_of_the_others() -> None:
    for values, layers in (({"p_inputs": 0.5}, [True, False]), ({"p_between": 0.5}, [False, True])):
        found = [
            drawing.layer_sites(replace(DRAW, program=program(**values), layer=layer)).inputs
            is not None
            for layer in (0, 1)
        ]
        assert found == layers
        decoder = [replace(SHAPE, first=first) for first in (True, False)]
        found = [
            drawing.layer_sites(
                replace(DRAW, program=program(**values), shape=shape, layer=2)
            ).inputs
            is not None
            for shape in decoder
        ]
        assert found == layers


def test_input_dropout_takes_whole_vectors_of_the_first_layer() -> None:
    inputs = drawn(p_input_steps=0.5).inputs
    assert inputs is not None
    assert inputs.shape == (20, 8, 1)
    assert (
        drawing.layer_sites(replace(DRAW, program=program(p_input_steps=0.5), layer=1)).inputs
        is None
    )


@pytest.mark.parametrize(("tied", "shape"), [("tied", (1, 8, 50)), ("untied", (1, 8, 4, 50))])
def test_variational_masks_last_for_a_sequence(tied: str, shape: tuple[int, ...]) -> None:
    recurrent = drawn(p_sequence_states=0.5, variational_masks=tied).recurrent
    assert recurrent is not None
    assert recurrent.shape == shape
    if tied == "untied":
        assert not same(recurrent[:, :, 0], recurrent[:, :, 1])


def test_variational_masks_spare_single_symbols() -> None:
    values = {"p_sequence_inputs": 0.5, "embedding_size": 4, "num_layers": 2}
    symbols = LayerShape(steps=20, batch=8, inputs=1, hidden=50)
    assert (
        drawing.layer_sites(replace(DRAW, program=program(**values), shape=symbols)).inputs is None
    )
    assert drawn(**values).inputs is not None


def test_word_types_are_dropped_per_sequence() -> None:
    gain = drawing.embedding_gain(
        replace(
            DRAW,
            program=program(p_sequence_words=0.3, embedding_size=4),
            shape=LayerShape(steps=1, batch=8, inputs=200, hidden=0),
        )
    )
    assert gain is not None
    assert gain.shape == (1, 8, 200)
    assert float((gain == 0).double().mean()) == pytest.approx(0.3, abs=0.06)
    assert float(gain.max()) == pytest.approx(1 / 0.7)


def test_monte_carlo_draws_all_variational_masks_but_those_of_words() -> None:
    values = {"p_sequence_words": 0.3, "p_sequence_states": 0.3, "embedding_size": 4}
    assert monte_carlo(program(**values))[0] == 0
    passes, sampled = monte_carlo(program(mc_passes=100, carry="zero", z_cells=0.5, **values))
    assert passes == 100
    assert {mask.site: mask.expected for mask in sampled} == {
        "embedding": 1.0,
        "recurrent": None,
        "keep_cells": 0.5,
    }
    first, second = (
        drawing.layer_sites(replace(DRAW, program=sampled, counter=step, evaluation=True))
        for step in (0, 1)
    )
    assert not same(first.recurrent, second.recurrent)
    assert not same(
        first.recurrent,
        drawing.layer_sites(replace(DRAW, program=sampled)).recurrent,
    )  # nor those of training
    assert same(first.keep_cells, second.keep_cells)


def test_surprisals_numbers_are_drawn_in_training_and_where_asked_for_in_an_evaluation() -> None:
    values = {"cell": "surprisal_lstm", "surprisal_masks": "expected"}
    uniform = drawn(**values).uniform
    assert uniform is not None
    assert uniform.shape == (20, 8, 50)
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert (float(uniform.mean()), float(uniform.var())) == pytest.approx((0.5, 1 / 12), abs=0.02)
    assert drawn(evaluation=True, **values).uniform is None
    sampled = drawn(evaluation=True, **values | {"surprisal_masks": "sampled"}).uniform
    assert not same(sampled, uniform)


# The norm stabilizer


def test_the_norm_stabilizer_is_the_oracle(oracles: dict[str, Any]) -> None:
    oracle = oracles["norm_stabilizer"]
    states_TBH = torch.tensor(oracle["states"], dtype=torch.float64, requires_grad=True)
    penalty = NormStabilizer(beta_norm=oracle["beta"]).penalty(states_TBH).mean()
    penalty.backward()
    assert penalty.item() == pytest.approx(oracle["penalty_div_T"], rel=1e-13)
    gradient = torch.tensor(oracle["grad_states_div_T"], dtype=torch.float64)
    assert states_TBH.grad is not None
    torch.testing.assert_close(states_TBH.grad, gradient, rtol=0, atol=1e-12)
    other = (
        NormStabilizer(beta_norm=oracle["beta"], norm_divisor="differences")
        .penalty(states_TBH)
        .mean()
    )
    assert other.item() == pytest.approx(oracle["penalty_div_T_minus_1"], rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_state_of_zeros_has_a_finite_penalty_and_gradient(
    oracles: dict[str, Any], dtype: torch.dtype
) -> None:
    zero = oracles["norm_stabilizer"]["zero_state_case"]
    states_TBH = torch.tensor(zero["states"], dtype=dtype, requires_grad=True)
    penalty = NormStabilizer(beta_norm=50).penalty(states_TBH).mean()
    penalty.backward()
    assert penalty.item() == pytest.approx(
        zero["penalty_div_T"], rel=1e-6 if dtype == torch.float32 else 1e-12
    )
    assert states_TBH.grad is not None
    assert states_TBH.grad.isfinite().all()
    assert not states_TBH.grad[1, 0].any()


def test_a_single_step_has_no_differences() -> None:
    divisors: tuple[Literal["steps", "differences"], ...] = ("steps", "differences")
    for divisor in divisors:
        part = NormStabilizer(beta_norm=50, norm_divisor=divisor)
        assert part.penalty(torch.ones(1, 2, 3)).tolist() == [0.0, 0.0]


# Refusals


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"p_recurrent": 0.5, "cell": "rnn"},
            "regularizer.recurrent_dropout.p_recurrent must be 0 with model.cell=rnn, which has no place for a mask at update, but is 0.5.",
        ),
        (
            {"z_cells": 0.5, "cell": "gru"},
            "regularizer.zoneout.z_cells must be 0 with model.cell=gru, which has no place for a mask at keep_cells, but is 0.5.",
        ),
        (
            {"p_gate": 0.5, "cell": "gru"},
            "regularizer.output_gate.p_gate must be 0 with model.cell=gru, which has no place for a mask at gate, but is 0.5.",
        ),
        (
            {"z_depth": 0.5, "cell": "gru"},
            "regularizer.stochastic_depth.depth_of must be states with model.cell=gru, which has no place for a mask at keep_cells, but is 'both'.",
        ),
        (
            {"beta_norm": 50, "norm_of": "cells", "cell": "rnn"},
            "regularizer.norm_stabilizer.norm_of must be states with model.cell=rnn, which carries h, but is 'cells'.",
        ),
        (
            {"z_cells": 0.5, "z_states": 0.1, "zoneout_mask": "shared"},
            "regularizer.zoneout.z_states must be equal to regularizer.zoneout.z_cells (0.5) where they share a mask, but is 0.1.",
        ),
        (
            {"p_recurrent": 0.5, "recurrent_mask": "zoneout"},
            "regularizer.recurrent_dropout.p_recurrent must be equal to regularizer.zoneout.z_cells (0.0) where recurrent dropout takes zoneout's mask, but is 0.5.",
        ),
        (
            {"p_recurrent": 0.5, "z_cells": 0.5, "z_spread": 0.1, "recurrent_mask": "zoneout"},
            "regularizer.zoneout.z_spread must be 0 where recurrent dropout takes zoneout's mask, but is 0.1.",
        ),
        (
            {"surprisal_masks": "sampled"},
            "regularizer.surprisal.surprisal_masks must be off with model.cell=lstm, which has no place for a mask at uniform, but is 'sampled'.",
        ),
        (
            {"static_masks": "same", "carry": "zero"},
            "carry must be none with static masks, which belong to a chunk's steps, but is 'zero'.",
        ),
        (
            {"p_outputs": 1.0},
            "regularizer.non_recurrent_dropout.p_outputs must be below 1, since training divides by 1 - p, but is 1.0.",
        ),
        (
            {"p_recurrent": 1.0, "recurrent_scale": "inverted"},
            "regularizer.recurrent_dropout.p_recurrent must be below 1, since training divides by 1 - p, but is 1.0.",
        ),
        (
            {"p_sequence_words": 0.3},
            "regularizer.variational.p_sequence_words must be 0 with model.embedding_size=0, since it drops rows of an embedding, but is 0.3.",
        ),
        (
            {"p_sequence_inputs": 0.3},
            "regularizer.variational.p_sequence_inputs must be 0 with model.embedding_size=0 and one layer, since it would silence whole sequences, but is 0.3.",
        ),
        (
            {"p_sequence_states": 0.3, "mc_passes": 9},
            "regularizer.variational.mc_passes must be 0 with carry=none, since only texts that are read on and on are scored by Monte Carlo passes, but is 9.",
        ),
        (
            {"mc_passes": -1},
            "regularizer.variational.mc_passes must be at least 0 (0 = none), but is -1.",
        ),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrialConfig().with_values(values)
    assert str(error.value) == f"{text} Set it with --set {text.split()[0]}=VALUE."
