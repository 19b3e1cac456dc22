"""The recurrence against the oracles (spec section 13) and torch's own layers, and which kernel is
chosen."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.cell_oracles import Case, case, expected, step_by_step, tensor
from tests.zoneout_core.test_cell_oracles import CASES, TOLERANCES
from zoneout_core.cells import Cell, State
from zoneout_core.cells.bn_lstm import BatchNormLSTM
from zoneout_core.cells.gru import GRU
from zoneout_core.cells.lstm import LSTM
from zoneout_core.cells.rnn import RNN
from zoneout_core.errors import ConfigError, UnknownName
from zoneout_core.kernels import KernelChoice, choose, fastest_product, product, recurrence
from zoneout_core.masking.sites import Sites

IMPLEMENTATIONS = ("loop", "torch")
WITHOUT_KERNEL = {
    "lstm_output_gate_intent_raw_train": "gate intent_raw",
    "lstm_output_gate_literal_train": "gate literal",
    "lstm_output_gate_code_train": "gate code",
    "lstm_variational_train": "inputs by gate, recurrent by gate",
}
"""Cases that run in the loop, and the places of the masks for which it has to."""


def site_keys(one: Case) -> list[str]:
    """As `Mask.site_key` says them."""
    special = {"gate": f"gate {one.sites.gate_form}"}
    masks = one.sites.present().items()
    return [
        f"{site} by gate" if mask.dim() == 4 else special.get(site, site) for site, mask in masks
    ]


def through_torch(one: Case, state: State, t: int) -> State:
    """The states after step `t`, by the lane-native kernel as a pack of one lane."""
    masks = Sites(**{name: mask[None] for name, mask in one.sites.span(t, t + 1).present().items()})
    masks = replace(masks, gate_form=one.sites.gate_form)
    choice = choose(
        one.cell, str(one.x.dtype).removeprefix("torch."), "cpu", site_keys(one), "torch"
    )
    p = {name: value[None] for name, value in one.p.items()}
    states = tuple(value[None] for value in state)
    last = recurrence(
        one.cell, p, one.x[None, t : t + 1], states, masks, choice, training=one.training
    ).last
    return tuple(value[0] for value in last)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_KERNEL])
def test_oracle(oracles: dict[str, Any], name: str, dtype: torch.dtype) -> None:
    """Step by step, so that every h_t and c_t is an output and has its total derivative."""
    one = case(oracles, name, dtype)
    found, wanted = step_by_step(one, through_torch), expected(one)
    assert set(found) == set(wanted)
    for_outputs, for_gradients = TOLERANCES[dtype]
    for key, value in found.items():
        atol = for_gradients if key in one.expected["grads"] else for_outputs
        torch.testing.assert_close(
            value, tensor(wanted[key], dtype), rtol=0, atol=atol, msg=lambda m, k=key: k + m
        )


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_KERNEL])
def test_oracle_as_one_sequence(oracles: dict[str, Any], name: str) -> None:
    one = case(oracles, name, torch.float64)
    masks = Sites(
        **{n: mask[None] for n, mask in one.sites.present().items()}, gate_form=one.sites.gate_form
    )
    p, state = (
        {n: value[None] for n, value in one.p.items()},
        tuple(value[None] for value in one.state),
    )
    choice = choose(one.cell, "float64", "cpu", site_keys(one), "torch")
    lanes = recurrence(one.cell, p, one.x[None], state, masks, choice, trajectories=True)
    assert lanes.trajectories is not None
    for key, value in zip("hc", lanes.trajectories[: len(one.state)], strict=False):
        torch.testing.assert_close(
            value[0], tensor(expected(one)[key], torch.float64), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("name", WITHOUT_KERNEL)
def test_what_has_no_kernel_runs_in_the_loop(oracles: dict[str, Any], name: str) -> None:
    one = case(oracles, name, torch.float64)
    choice = choose(one.cell, "float64", "cpu", site_keys(one))
    reason = f"one lane and one step at a time: the kernel torch has no mask at {WITHOUT_KERNEL[name]} of lstm"
    assert (choice.implementation, choice.reason) == ("loop", reason)


def from_torch(layer: torch.nn.RNNBase, order: list[int]) -> dict[str, Tensor]:
    """A torch layer's parameters as one lane's, with the gates in our order; both biases in one."""

    def reordered(weight: Tensor) -> Tensor:
        blocks = weight.detach().chunk(len(order))
        return torch.cat([blocks[gate] for gate in order]).unsqueeze(0)

    return {
        "w_DG": reordered(layer.weight_ih_l0).mT.contiguous(),
        "u_HG": reordered(layer.weight_hh_l0).mT.contiguous(),
        "b_G": reordered(layer.bias_ih_l0 + layer.bias_hh_l0),
    }


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("cell", "layer", "order"),
    [
        (LSTM(), torch.nn.LSTM(5, 7), [0, 1, 3, 2]),
        (GRU(reset="after"), torch.nn.GRU(5, 7), [0, 1, 2]),
        (RNN(), torch.nn.RNN(5, 7), [0]),
        (RNN(activation="relu"), torch.nn.RNN(5, 7, nonlinearity="relu"), [0]),
    ],
    ids=str,
)
def test_without_masks_it_is_the_layer_of_torch(
    cell: Cell, layer: torch.nn.RNNBase, order: list[int], implementation: str
) -> None:
    layer = layer.double()
    x = torch.randn(9, 4, 5, dtype=torch.float64)
    p = from_torch(layer, order)
    if isinstance(cell, GRU):
        p["v_H"] = layer.bias_hh_l0.detach()[None, 14:].clone()
        p["b_G"][:, 14:] = layer.bias_ih_l0.detach()[14:]
    zeros = tuple(torch.zeros(1, 1, 7, dtype=torch.float64) for _ in cell.STATES)
    choice = choose(cell, "float64", "cpu", implementation=implementation)
    lanes = recurrence(cell, p, x.unsqueeze(0), zeros, Sites(), choice)
    h_TBH, last = layer(x)
    torch.testing.assert_close(lanes.outputs_KTBU[0], h_TBH.detach(), rtol=0, atol=1e-13)
    for ours, theirs in zip(lanes.last, last if isinstance(last, tuple) else (last,), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-13)


def test_choose_says_what_runs_and_why() -> None:
    assert choose(LSTM(), "float64", "cpu") == KernelChoice(
        "torch",
        "explicit backward on cpu; product mm: float64 on cpu",
        fastest_product.pick("float64", torch.device("cpu")),
    )
    asked = choose(LSTM(), "float32", "cpu", implementation="loop")
    assert (asked.implementation, asked.reason) == (
        "loop",
        "asked for; one lane and one step at a time",
    )
    asked = choose(LSTM(), "bfloat16", "cpu", implementation="loop")
    assert asked.reason == "asked for; one lane and one step at a time, in float32"
    # No GPU is needed to decide.
    assert (
        choose(LSTM(), "bfloat16", "cuda").reason
        == "explicit backward on cuda; product mm: bfloat16 on cuda"
    )
    # Masks outside of the layer are not the kernel's business.
    assert choose(LSTM(), "float32", "cpu", ["embedding", "outputs"]).implementation == "torch"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (BatchNormLSTM(), "cell bn_lstm"),
        (LSTM(output_offset=True), "cell.output_offset=True of lstm"),
        (LSTM(output="candidate"), "cell.output=candidate of lstm"),
    ],
    ids=str,
)
def test_choose_knows_the_settings_of_the_cell(cell: Cell, reason: str) -> None:
    choice = choose(cell, "float32", "cpu")
    expected = f"one lane and one step at a time: the kernel torch has no {reason}"
    assert (choice.implementation, choice.reason) == ("loop", expected)


def test_choose_takes_onednn_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZONEOUT_PRODUCT", raising=False)
    assert product.has_onednn(), "the pinned torch has it; without it the CPU is half as fast"
    reason = "explicit backward on cpu; product onednn: float32 through oneDNN, as nn.LSTM"
    assert choose(LSTM(), "float32", "cpu").reason == reason
    monkeypatch.setattr(product, "has_onednn", lambda precision: False)
    reason = (
        "explicit backward on cpu; product mm: float32, because there is no oneDNN product here"
    )
    assert choose(LSTM(), "float32", "cpu").reason == reason


def test_choose_refuses_a_kernel_that_cannot_run_it() -> None:
    with pytest.raises(ConfigError) as caught:
        choose(LSTM(), "float32", "cpu", ["keep_cells", "gate literal"], "torch")
    message = "The kernel torch must know all that it runs, but it has no mask at gate literal of lstm. Take the kernel loop."
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("float8", "cpu"),
            "There is no precision named 'float8'. Did you mean 'float64'? What exists: bfloat16, float32, float64.",
        ),
        (
            ("float32", "cpu", (), "triton"),
            "There is no implementation named 'triton'. What exists: loop, torch.",
        ),
    ],
)
def test_choose_refuses_what_does_not_exist(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UnknownName) as caught:
        choose(LSTM(), *arguments)
    assert str(caught.value) == message
