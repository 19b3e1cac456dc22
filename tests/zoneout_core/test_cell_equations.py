"""Cells against torch's own layers, and against their equations written out a second time (spec
sections 1, 5, 11)."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.made_cells import Made, make
from zoneout_core.masking.sites import Sites


def close(one: Tensor, other: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=atol)


TORCH = {
    "lstm": (torch.nn.LSTM, {}, {}, (0, 1, 3, 2)),
    "gru": (torch.nn.GRU, {}, {"reset": "after"}, (0, 1, 2)),
    "rnn-tanh": (torch.nn.RNN, {}, {}, (0,)),
    "rnn-relu": (torch.nn.RNN, {"nonlinearity": "relu"}, {"activation": "relu"}, (0,)),
}
"""Torch's layer, its arguments, our settings, and where our gates are among torch's."""


@pytest.mark.parametrize("name", TORCH)
def test_the_cell_is_torchs_layer(name: str) -> None:
    kind, arguments, settings, order = TORCH[name]
    made = make(name.partition("-")[0], settings)
    layer = kind(5, 5, dtype=torch.float64, **arguments)

    def ours(parameter: Tensor) -> Tensor:
        blocks = parameter.detach().chunk(len(order))
        return torch.cat([blocks[k] for k in order]).t()

    p = {"w_DG": ours(layer.weight_ih_l0), "u_HG": ours(layer.weight_hh_l0)}
    p["b_G"], b_state = ours(layer.bias_ih_l0), ours(layer.bias_hh_l0)
    if name == "gru":
        p |= {"b_G": p["b_G"] + b_state * (torch.arange(15) < 10), "v_H": b_state[10:]}
    else:
        p["b_G"] = p["b_G"] + b_state
    x, theirs_x = (made.dense.clone().requires_grad_() for _ in range(2))
    found = made.run(p=p, x=x).states
    state = tuple(value[None] for value in made.state)
    wanted, _ = layer(theirs_x, state if name == "lstm" else state[0])
    close(found[0], wanted)
    (gradient,) = torch.autograd.grad(found[0].sin().sum(), x)
    (wanted_gradient,) = torch.autograd.grad(wanted.sin().sum(), theirs_x)
    close(gradient, wanted_gradient, 1e-10)


def test_reset_before_the_product_is_another_cell() -> None:
    before, after = make("gru", {}), make("gru", {"reset": "after"})
    shared = {name: before.p[name] for name in ("w_DG", "u_HG", "b_G")}
    assert not torch.allclose(
        before.run().states[0],
        after.run(p=shared | {"v_H": torch.zeros(5, dtype=torch.float64)}).states[0],
    )


def test_output_offset_stands_inside_the_tanh() -> None:
    made, plain = make("lstm", {"output_offset": True}, steps=1), make("lstm", {}, steps=1)
    shared = {name: plain.p[name] for name in plain.trained}
    offset = torch.linspace(-1, 1, 5, dtype=torch.float64)
    h, c = made.run(p=shared | {"offset_H": offset}, state=plain.state, x=plain.x).last
    plain_h, plain_c = plain.run().last
    assert torch.equal(c, plain_c)
    close(h, plain_h / plain_c.tanh() * (plain_c + offset).tanh())
    assert not made.cell.initial(made.config.model, 5, Zeros())["offset_H"].any()


class Zeros:
    """Draws zeros, but for constants."""

    def matrix(self, rows: int, columns: int) -> Tensor:
        return torch.zeros(rows, columns)

    def bias(self, *shape: int) -> Tensor:
        return torch.zeros(shape)

    def full(self, value: float, *shape: int) -> Tensor:
        return torch.full(shape, value)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        return torch.zeros(shape)


@pytest.mark.parametrize("form", ["intent", "code"])
def test_the_candidate_goes_upward_and_the_zoned_state_onward(form: str) -> None:
    made, plain = make("lstm", {"output": "candidate"}), make("lstm", {})
    shared = {name: plain.p[name] for name in plain.trained}
    masks = Sites(**made.masks().present(), gate_form=form)
    candidate, *onward = made.run(
        masks, p=shared, state=(plain.state[0], *plain.state), x=plain.x
    ).states
    zoned = plain.run(masks).states
    assert all(torch.equal(one, other) for one, other in zip(onward, zoned, strict=True))
    before = torch.cat([plain.state[0][None], zoned[0][:-1]])
    if form == "intent":
        close(masks.keep_states * before + (1 - masks.keep_states) * candidate, zoned[0])
    assert not torch.equal(candidate, zoned[0])


def inputs_of(made: Made) -> Tensor:
    return torch.nn.functional.one_hot(made.x, 5).double()


def norm(v: Tensor) -> Tensor:
    return layer_norm(v, v.shape[-1:], eps=1e-3)


@pytest.mark.parametrize("form", ["joint", "separate"])
def test_layer_norm(form: str) -> None:
    made = make("ln_lstm", {"layer_norm": form})
    p, (h, c) = made.p, made.state
    for x, h_found, c_found in zip(inputs_of(made), *made.run().states, strict=True):
        pre = []
        for k in range(4):
            part = slice(5 * k, 5 * k + 5)
            from_x, from_h, b = x @ p["w_DG"][:, part], h @ p["u_HG"][:, part], p["b_G"][part]
            if form == "joint":
                pre.append(norm(from_x + from_h) * p["gain_G"][part] + b)
            else:
                pre.append(
                    norm(from_x) * p["gain_w_G"][part] + norm(from_h) * p["gain_u_G"][part] + b
                )
        i, f, o, g = pre
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * (norm(c) * p["gain_c_H"] + p["shift_c_H"]).tanh()
        close(h_found, h)
        close(c_found, c)


@pytest.mark.parametrize("read", ["now", "before"])
@pytest.mark.parametrize("normed", [True, False])
def test_hyper_lstm(read: str, normed: bool) -> None:
    made = make(
        "hyper_lstm",
        {"hyper_read": read, "hyper_norm": normed, "hyper_hidden": 3, "hyper_embedding": 2},
    )
    p, (h, c, q, hyper_c) = made.p, made.state

    def finished(pre: list[Tensor], c: Tensor, prefix: str, axis: str) -> tuple[Tensor, Tensor]:
        """LSTM from pre-activations i, f, o, g without norm and shift."""
        size = pre[0].shape[-1]
        gains, shifts = (
            p.get(f"{prefix}{name}_G", torch.ones(4 * size)).split(size) for name in ("gain", "b")
        )
        i, f, o, g = (
            (norm(v) * gain if normed else v) + shift
            for v, gain, shift in zip(pre, gains, shifts, strict=True)
        )
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        inner = (
            norm(c) * p[f"{prefix}gain_c_{axis}"] + p[f"{prefix}shift_c_{axis}"] if normed else c
        )
        return o.sigmoid() * inner.tanh(), c

    for x, *found in zip(inputs_of(made), *made.run().states, strict=True):
        q_before = q
        hyper_pre = torch.cat([h, x], dim=1) @ p["hyper_w_XG"] + q @ p["hyper_u_QG"]
        q, hyper_c = finished(list(hyper_pre.split(3, dim=1)), hyper_c, "hyper_", "Q")
        speaking = q if read == "now" else q_before
        pre = []
        for k in range(4):
            part, a_h, a_x, a_b = slice(5 * k, 5 * k + 5), 2 * k, 8 + 2 * k, 16 + 2 * k
            z_h = speaking @ p["speak_w_QN"][:, a_h : a_h + 2] + p["speak_b_N"][a_h : a_h + 2]
            z_x = speaking @ p["speak_w_QN"][:, a_x : a_x + 2] + p["speak_b_N"][a_x : a_x + 2]
            z_b = speaking @ p["speak_w_QN"][:, a_b : a_b + 2]
            d_h, d_x, b = (
                z_h @ p["scale_PNH"][k],
                z_x @ p["scale_PNH"][4 + k],
                z_b @ p["scale_PNH"][8 + k],
            )
            value = d_h * (h @ p["u_HG"][:, part]) + d_x * (x @ p["w_DG"][:, part]) + b
            pre.append(value + p["b0_G"][part] if normed else value)
        h, c = finished(pre, c, "", "H")
        for one, other in zip(found, (h, c, q, hyper_c), strict=True):
            close(one, other)


def test_a_fresh_hyper_lstm_scales_everything_by_a_tenth() -> None:
    config = TrialConfig().with_values({"cell": "hyper_lstm", "hidden_size": 5})
    made = make("hyper_lstm", {})
    p = config.cell.initial(config.model, 5, Zeros())
    by_h, by_x, offset = made.cell._scales(p, torch.randn(3, 128))
    close(by_h, torch.full((3, 20), 0.1), 1e-7)
    close(by_x, torch.full((3, 20), 0.1), 1e-7)
    assert not offset.any()
    assert p["b_G"].tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
