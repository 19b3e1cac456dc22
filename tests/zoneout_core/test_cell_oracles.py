"""Every case of the oracles (spec section 13) through the cells, and through the kernel that loops
over them."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.cell_oracles import (
    case,
    expected,
    step_by_step,
    tensor,
    through_cell,
    through_loop,
)
from zoneout_core.cells import State
from zoneout_core.masking.sites import Sites

CASES = [
    "lstm_plain",
    "lstm_plain_forget_bias_1",
    "lstm_zoneout_train",
    "lstm_zoneout_eval",
    "lstm_zoneout_cells_only_train",
    "lstm_zoneout_states_only_train",
    "lstm_zoneout_shared_mask_train",
    "lstm_zoneout_shared_mask_eval",
    "lstm_zoneout_all_ones",
    "lstm_zoneout_gaussian_train",
    "lstm_stochastic_depth_train",
    "lstm_stochastic_depth_eval",
    "lstm_recurrent_dropout_train",
    "lstm_recurrent_dropout_eval",
    "lstm_recurrent_dropout_inverted_train",
    "lstm_output_gate_intent_train",
    "lstm_output_gate_intent_raw_train",
    "lstm_output_gate_literal_train",
    "lstm_output_gate_code_train",
    "lstm_output_gate_intent_eval",
    "lstm_naive_cell_dropout_train",
    "lstm_naive_cell_dropout_eval",
    "lstm_naive_cell_and_state_dropout_train",
    "lstm_rnndrop_train",
    "lstm_rnndrop_eval",
    "lstm_variational_train",
    "gru_plain",
    "gru_zoneout_train",
    "gru_zoneout_eval",
    "gru_recurrent_dropout_train",
    "gru_recurrent_dropout_eval",
    "rnn_plain",
    "rnn_zoneout_train",
    "rnn_zoneout_eval",
    "rnn_relu_zoneout_train",
]
TOLERANCES = {torch.float64: (1e-12, 1e-10), torch.float32: (1e-5, 1e-5)}
"""Of outputs and of gradients."""


def test_no_case_is_left_out(oracles: dict[str, Any]) -> None:
    assert [one["name"] for one in oracles["cases"]] == CASES


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("run", [through_cell, through_loop])
@pytest.mark.parametrize("name", CASES)
def test_case(oracles: dict[str, Any], name: str, run: Any, dtype: torch.dtype) -> None:
    one = case(oracles, name, dtype)
    found, wanted = step_by_step(one, run), expected(one)
    assert set(found) == set(wanted)
    for_outputs, for_gradients = TOLERANCES[dtype]
    for key, value in found.items():
        atol = for_gradients if key in one.expected["grads"] else for_outputs
        torch.testing.assert_close(
            value, tensor(wanted[key], dtype), rtol=0, atol=atol, msg=lambda m, k=key: k + m
        )


@pytest.mark.parametrize("name", CASES)
def test_case_as_one_sequence(oracles: dict[str, Any], name: str) -> None:
    one = case(oracles, name, torch.float64)
    states = one.cell.run(one.p, one.x, one.state, one.sites, training=one.training).states
    for key, value in zip("hc", states[: len(one.state)], strict=False):
        torch.testing.assert_close(
            value, tensor(expected(one)[key], torch.float64), rtol=0, atol=1e-12
        )


def test_one_step_expectation_identity(oracles: dict[str, Any]) -> None:
    """Averaging one training step over all 2^12 pairs of masks of one example gives the evaluation
    step."""
    wanted = oracles["one_step_expectation_identity"]
    one = case(oracles, "lstm_plain", torch.float64)

    def step(keep_cells: Tensor, keep_states: Tensor) -> State:
        sites = Sites(keep_cells=keep_cells, keep_states=keep_states)
        return one.cell.run(one.p, one.x[:1], one.state, sites, training=True).last

    rates = [tensor(wanted[name], torch.float64).view(1, 1, 1) for name in ("zc", "zh")]
    evaluated = step(*rates)
    for key, value in zip("hc", evaluated, strict=True):
        torch.testing.assert_close(value, tensor(wanted[key], torch.float64)[0], rtol=0, atol=1e-12)
    masks = [
        tensor(bits, torch.float64).view(1, 1, 3)
        for bits in itertools.product((0.0, 1.0), repeat=3)
    ]
    mean = [torch.zeros_like(value) for value in evaluated]
    for cells, states in itertools.product(masks, masks):
        chance = torch.stack(
            [
                torch.where(m == 1, z, 1 - z).prod()
                for m, z in zip((cells, states), rates, strict=True)
            ]
        )
        for total, value in zip(mean, step(cells, states), strict=True):
            total += chance.prod() * value
    for total, value in zip(mean, evaluated, strict=True):
        torch.testing.assert_close(total, value, rtol=0, atol=1e-14)
