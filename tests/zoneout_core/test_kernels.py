"""The recurrence against the oracles (spec section 13), torch's own LSTM, and what zoneout has to satisfy."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zoneout_core.cells.lstm import LSTM
from zoneout_core.errors import ConfigError, UnknownName
from zoneout_core.kernels import Choice, choose, product, recurrence
from zoneout_core.sites import Sites

ORACLES = [
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
]
GATES = ("i", "f", "o", "g")
IMPLEMENTATIONS = ("loop", "torch")
WEIGHTS = ("w_DG", "u_HG", "b_G")
TOLERANCES = {"float64": (1e-12, 1e-10), "float32": (1e-5, 1e-5)}
"""Of outputs and of gradients."""


def tensor(data: Any, dtype: torch.dtype) -> Tensor:
    return torch.tensor(data, dtype=dtype)


def oracle_weights(oracles: dict[str, Any], dtype: torch.dtype, forget_bias: float = 0.0) -> dict[str, Tensor]:
    """One lane of leaves; the constant that one case adds to the forget gate is part of its bias."""
    part = oracles["inputs"]["lstm"]
    b = torch.cat([tensor(part["b"][gate], dtype) + (forget_bias if gate == "f" else 0.0) for gate in GATES])
    w, u = (torch.cat([tensor(part[name][gate], dtype) for gate in GATES], dim=1) for name in ("Wx", "Wh"))
    return dict(zip(WEIGHTS, (leaf.unsqueeze(0).requires_grad_() for leaf in (w, u, b)), strict=True))


def oracle_masks(settings: dict[str, Any], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Masks [1, T, B, H or 1]: bool where they hold 0 and 1, real numbers otherwise, [1, 1, 1, 1] at evaluation."""
    if "m" in settings:
        values = [tensor(settings["m"], dtype).unsqueeze(-1)] * 2
    elif "mc" in settings:
        values = [tensor(settings[name], dtype) for name in ("mc", "mh")]
    else:
        z = settings.get("z", 0.0)
        values = [tensor(settings.get(name, z), dtype).view(1, 1, 1) for name in ("zc", "zh")]
    masks = [value.bool() if ((value == 0) | (value == 1)).all() else value for value in values]
    return masks[0].unsqueeze(0), masks[1].unsqueeze(0)


def gate_gradients(name: str, gradient: Tensor) -> dict[str, Tensor]:
    return {f"{name}.{gate}": part for gate, part in zip(GATES, gradient[0].chunk(4, dim=-1), strict=True)}


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ORACLES)
def test_oracle(oracles: dict[str, Any], name: str, implementation: str, precision: str) -> None:
    """Step by step, so that every h_t and c_t is an output and has its total derivative."""
    (case,) = [case for case in oracles["cases"] if case["name"] == name]
    dtype = getattr(torch, precision)
    choice = choose(LSTM(), precision, "cpu", implementation=implementation)
    weights = oracle_weights(oracles, dtype, case["settings"].get("forget_bias", 0.0))
    masks = [mask.expand(1, 3, *mask.shape[2:]) for mask in oracle_masks(case["settings"], dtype)]
    x, h0, c0 = (tensor(oracles["inputs"][key], dtype).unsqueeze(0).requires_grad_() for key in ("X", "h0", "c0"))
    h, c = h0, c0
    hs, cs = [], []
    for t in range(3):
        now = slice(t, t + 1)
        sites = Sites(keep_cells=masks[0][:, now], keep_states=masks[1][:, now])
        h, c = recurrence(LSTM(), weights, x[:, now], (h, c), sites, choice).last
        h.retain_grad()
        c.retain_grad()
        hs.append(h)
        cs.append(c)
    loss_weights = [tensor(oracles["inputs"][f"loss_weights_{key}"], dtype) for key in ("h", "c")]
    loss = (torch.cat(hs) * loss_weights[0]).sum() + (torch.cat(cs) * loss_weights[1]).sum()
    loss.backward()

    outputs = {"h": torch.cat(hs), "c": torch.cat(cs), "loss": loss}
    gradients = {"X": x.grad[0], "h0": h0.grad[0], "c0": c0.grad[0]}
    gradients |= {"dL_dh": torch.cat([h.grad for h in hs]), "dL_dc": torch.cat([c.grad for c in cs])}
    for key, leaf in zip(("Wx", "Wh", "b"), weights.values(), strict=True):
        gradients |= gate_gradients(key, leaf.grad)
    assert set(gradients) == set(case["grads"])
    for_outputs, for_gradients = TOLERANCES[precision]
    for key, value in outputs.items():
        expected = case["outputs"].get(key, case["loss"])
        torch.testing.assert_close(value, tensor(expected, dtype), rtol=0, atol=for_outputs, msg=lambda m, k=key: k + m)
    for key, value in gradients.items():
        expected = tensor(case["grads"][key], dtype)
        torch.testing.assert_close(value, expected, rtol=0, atol=for_gradients, msg=lambda m, k=key: k + m)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ORACLES)
def test_oracle_as_one_sequence(oracles: dict[str, Any], name: str, implementation: str) -> None:
    (case,) = [case for case in oracles["cases"] if case["name"] == name]
    weights = oracle_weights(oracles, torch.float64, case["settings"].get("forget_bias", 0.0))
    masks = [mask.expand(1, 3, 2, 3) for mask in oracle_masks(case["settings"], torch.float64)]
    x, h0, c0 = (tensor(oracles["inputs"][key], torch.float64).unsqueeze(0) for key in ("X", "h0", "c0"))
    choice = choose(LSTM(), "float64", "cpu", implementation=implementation)
    sites = Sites(keep_cells=masks[0], keep_states=masks[1])
    h_KTBH, (h_KBH, c_KBH), *_ = recurrence(LSTM(), weights, x, (h0, c0), sites, choice)
    expected_h, expected_c = (tensor(case["outputs"][key], torch.float64) for key in ("h", "c"))
    torch.testing.assert_close(h_KTBH[0], expected_h, rtol=0, atol=1e-12)
    torch.testing.assert_close(h_KBH[0], expected_h[-1], rtol=0, atol=1e-12)
    torch.testing.assert_close(c_KBH[0], expected_c[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_one_step_expectation_identity(oracles: dict[str, Any], implementation: str) -> None:
    """Averaging one training step over all masks gives the evaluation step."""
    case = oracles["one_step_expectation_identity"]
    choice = choose(LSTM(), "float64", "cpu", implementation=implementation)
    weights = oracle_weights(oracles, torch.float64)
    x, h0, c0 = (tensor(oracles["inputs"][key], torch.float64).unsqueeze(0) for key in ("X", "h0", "c0"))
    z_c, z_h = case["zc"], case["zh"]

    def step(cells: float | bool, states: float | bool) -> tuple[Tensor, Tensor]:
        masks = [
            torch.as_tensor(value, dtype=None if value in (True, False) else torch.float64).view(1, 1, 1, 1)
            for value in (cells, states)
        ]
        sites = Sites(keep_cells=masks[0], keep_states=masks[1])
        h, c = recurrence(LSTM(), weights, x[:, :1], (h0, c0), sites, choice).last
        return h, c

    h, c = step(z_c, z_h)
    torch.testing.assert_close(h, tensor(case["h"], torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(c, tensor(case["c"], torch.float64), rtol=0, atol=1e-12)
    preserved, updated = step(True, True), step(False, False)
    torch.testing.assert_close(z_h * preserved[0] + (1 - z_h) * updated[0], h, rtol=0, atol=1e-15)
    torch.testing.assert_close(z_c * preserved[1] + (1 - z_c) * updated[1], c, rtol=0, atol=1e-15)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_without_zoneout_it_is_the_lstm_of_torch(implementation: str) -> None:
    torch.manual_seed(4)
    lstm = torch.nn.LSTM(5, 7).double()
    x = torch.randn(9, 4, 5, dtype=torch.float64)
    i, f, g, o = range(4)

    def reordered(weight: Tensor) -> Tensor:
        blocks = weight.detach().chunk(4)
        return torch.cat([blocks[i], blocks[f], blocks[o], blocks[g]]).unsqueeze(0)

    weights = (
        reordered(lstm.weight_ih_l0).mT.contiguous(),
        reordered(lstm.weight_hh_l0).mT.contiguous(),
        reordered(lstm.bias_ih_l0 + lstm.bias_hh_l0),
    )
    zero = torch.zeros(1, 1, 7, dtype=torch.float64)
    p = dict(zip(WEIGHTS, weights, strict=True))
    choice = choose(LSTM(), "float64", "cpu", implementation=implementation)
    h_KTBH, (_, c_KBH), *_ = recurrence(LSTM(), p, x.unsqueeze(0), (zero, zero), Sites(), choice)
    expected, (_, expected_c) = lstm(x)
    torch.testing.assert_close(h_KTBH[0], expected.detach(), rtol=0, atol=1e-13)
    torch.testing.assert_close(c_KBH, expected_c.detach(), rtol=0, atol=1e-13)


def test_choose_says_what_runs_and_why() -> None:
    assert choose(LSTM(), "float64", "cpu") == Choice(
        "torch", "explicit backward on cpu; product mm: float64 on cpu", product.pick("float64", torch.device("cpu"))
    )
    assert choose(LSTM(), "float32", "cpu", implementation="loop").implementation == "loop"
    # No GPU is needed to decide.
    assert choose(LSTM(), "bfloat16", "cuda").reason == "explicit backward on cuda; product mm: bfloat16 on cuda"


def test_choose_takes_onednn_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert product.has_onednn(), "the pinned torch has it; without it the CPU is half as fast"
    reason = "explicit backward on cpu; product onednn: float32 through oneDNN, as nn.LSTM"
    assert choose(LSTM(), "float32", "cpu").reason == reason
    monkeypatch.setattr(product, "has_onednn", lambda: False)
    reason = "explicit backward on cpu; product mm: float32, because this torch has no oneDNN product"
    assert choose(LSTM(), "float32", "cpu").reason == reason


def test_choose_takes_the_loop_where_there_is_no_kernel_and_says_why() -> None:
    choice = choose(LSTM(), "float32", "cpu", ["keep_cells", "gate literal"])
    reason = "one lane and one step at a time: the kernel torch has no mask at gate literal of lstm"
    assert (choice.implementation, choice.reason) == ("loop", reason)
    with pytest.raises(ConfigError) as caught:
        choose(LSTM(), "float32", "cpu", ["gate literal"], "torch")
    message = (
        "The kernel torch must know all that it runs, but it has no mask at gate literal of lstm. Take the kernel loop."
    )
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
def test_choose_refuses_what_does_not_exist(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnknownName) as caught:
        choose(LSTM(), *arguments)
    assert str(caught.value) == message
