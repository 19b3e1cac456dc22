"""HM-LSTM against its three operations, written out with branches, and its straight-through
gradient (spec 11.5)."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, one_hot

from zoneout_core.cells.hm_lstm import boundary
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.made_cells import Made, make
from zoneout_core.network.init import InitialDraw

H = 5


def norm(v: Tensor) -> Tensor:
    return layer_norm(v, v.shape[-1:], eps=1e-3)


def preactivation(
    p: dict[str, Tensor], n: int, a: Tensor, normed: bool
) -> tuple[list[Tensor], Tensor]:
    """Gates i, f, o, g after their nonlinearities, and the boundary's pre-activation, from the sum
    of products."""
    values = []
    for k in range(4):
        part = slice(H * k, H * k + H)
        value = norm(a[part]) * p[f"gain{n}_G"][part] if normed else a[part]
        values.append(value + p[f"b{n}_G"][part])
    i, f, o, g = values
    return [i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()], a[4 * H :] + p[f"b{n}_G"][4 * H :]


def read(p: dict[str, Tensor], n: int, c: Tensor, normed: bool) -> Tensor:
    return (norm(c) * p[f"gain_c{n}_H"] + p[f"shift_c{n}_H"] if normed else c).tanh()


def one_example(
    made: Made, x: Tensor, state: tuple[Tensor, ...], form: dict[str, Any]
) -> tuple[Tensor, ...]:
    """One step of one example, with branches. x: [D]; h and c: [3, H]; z: [2]."""
    p, normed = made.p, form.get("hm_norm", True)
    h, c, z = (list(part) for part in state)
    h_new, c_new, z_new = list(h), list(c), []
    ended = 1.0
    for n in (0, 1, 2):
        a = h[n] @ p[f"u{n + 1}_HG"]
        if n == 0:
            a = a + x @ p["w1_DG"]
        elif ended:
            a = a + h_new[n - 1] @ p[f"w{n + 1}_HG"]
        flush = n < 2 and bool(z[n])
        if flush:
            a = a + h[n + 1] @ p[f"v{n + 1}_HG"]
        (i, f, o, g), a_z = preactivation(p, n + 1, a, normed)
        if flush or ended:
            c_new[n] = i * g if flush else f * c[n] + i * g
            h_new[n] = o * read(p, n + 1, c_new[n], normed)
        elif n == 2 and form.get("hm_copy") == "top_recomputed":
            h_new[n] = o * read(p, n + 1, c_new[n], normed)
        if n < 2:
            ended = float(a_z > 0)
            z_new.append(ended)
    weights = [(torch.cat(h_new) @ p["weigh_w_HL"][:, n]).sigmoid() for n in range(3)]
    emitted = sum(weights[n] * (h_new[n] @ p["output_w_HE"][H * n : H * n + H]) for n in range(3))
    return (
        emitted.relu(),
        torch.stack(h_new),
        torch.stack(c_new),
        torch.tensor(z_new, dtype=torch.float64),
    )


@pytest.mark.parametrize("form", [{}, {"hm_norm": False}, {"hm_copy": "top_recomputed"}])
def test_flush_copy_and_update(form: dict[str, Any]) -> None:
    made = make("hm_lstm", {"hm_output": 7} | form, steps=12, batch=6)
    found = made.run()
    seen = set()
    for b in range(6):
        h, c = (made.state[k][b].view(3, H) for k in (1, 2))
        z = made.state[3][b]
        for t, x in enumerate(one_hot(made.x[:, b], 5).double()):
            before = z
            output, h, c, z = one_example(made, x, (h, c, z), form)
            seen |= {(n, bool(n < 2 and before[n]), bool(n == 0 or z[n - 1])) for n in range(3)}
            for one, other in zip(found.states, (output, h.flatten(), c.flatten(), z), strict=True):
                torch.testing.assert_close(one[t, b], other, rtol=0, atol=1e-12)
    assert len(seen) == 2 + 4 + 2, "every operation of every layer has happened"


def test_copied_states_keep_every_bit() -> None:
    made = make("hm_lstm", {}, steps=12, batch=6)
    _, h, c, z = made.run().states
    copied = (z[1:, :, 0] == 0) & (z[:-1, :, 1] == 0)
    assert copied.any()
    for states in (h, c):
        second = states.chunk(3, dim=-1)[1]
        assert torch.equal(second[1:][copied], second[:-1][copied])


@pytest.mark.parametrize("slope", [1.0, 2.5])
def test_the_boundary_has_the_gradient_of_its_line(slope: float) -> None:
    a = torch.tensor(
        [-3.0, -0.3, -0.01, 0.0, 0.01, 0.3, 3.0], dtype=torch.float64, requires_grad=True
    )
    z = boundary(a, torch.tensor([slope], dtype=torch.float64))
    assert z.tolist() == [0, 0, 0, 0, 1, 1, 1]
    z.sum().backward()
    assert a.grad.tolist() == [0, *[slope / 2] * 5, 0]


class StraightThrough(torch.autograd.Function):
    """The boundary a second time."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(a)
        ctx.slope = slope
        return (a > 0).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, d_z: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        return d_z * ctx.slope / 2 * ((ctx.slope * a).abs() < 1), None


def test_gradients_flow_through_boundaries() -> None:
    """Every gradient, against the sum of the three operations weighed with the bits that choose
    them."""
    made = make("hm_lstm", {"hm_output": 7}, steps=5)
    slope = float(made.p["slope"])
    p = {name: made.p[name].clone().requires_grad_() for name in made.trained}
    second = {name: value.detach().clone().requires_grad_() for name, value in p.items()}
    made.run(p=p).states[0].sin().sum().backward()

    loss = torch.zeros(())
    for b in range(3):
        h, c = ([*made.state[k][b].view(3, H)] for k in (1, 2))
        z: list[Any] = [*made.state[3][b], torch.zeros(())]
        for x in one_hot(made.x[:, b], 5).double():
            h_new: list[Tensor] = []
            c_new: list[Tensor] = []
            z_new: list[Any] = []
            below: Any = torch.ones(())
            for n in range(3):
                a = h[n] @ second[f"u{n + 1}_HG"]
                a = a + below * (
                    (h_new[-1] if n else x) @ second["w1_DG" if n == 0 else f"w{n + 1}_HG"]
                )
                a = a + z[n] * (h[n + 1] @ second[f"v{n + 1}_HG"]) if n < 2 else a
                (i, f, o, g), a_z = preactivation(second, n + 1, a, True)
                flush, copy, update = z[n], (1 - z[n]) * (1 - below), (1 - z[n]) * below
                c_new.append(flush * i * g + copy * c[n] + update * (f * c[n] + i * g))
                h_new.append(
                    copy * h[n] + (flush + update) * o * read(second, n + 1, c_new[n], True)
                )
                below = StraightThrough.apply(a_z, slope)[0] if n < 2 else torch.zeros(())
                z_new.append(below)
            h, c, z = h_new, c_new, z_new
            weights = (torch.cat(h) @ second["weigh_w_HL"]).sigmoid()
            parts = second["output_w_HE"].chunk(3)
            loss = loss + sum(weights[n] * (h[n] @ parts[n]) for n in range(3)).relu().sin().sum()
    loss.backward()
    for name, value in p.items():
        torch.testing.assert_close(
            value.grad, second[name].grad, rtol=0, atol=1e-11, msg=lambda m, n=name: n + m
        )


def test_the_slope_grows_by_the_epoch() -> None:
    cell = TrialConfig().with_values({"cell": "hm_lstm"}).cell
    assert [cell.schedule(epoch)["slope"] for epoch in (1, 2, 51, 101, 102, 500)] == [
        1.0,
        1.04,
        3.0,
        5.0,
        5.0,
        5.0,
    ]
    text8 = TrialConfig().with_values({"cell": "hm_lstm", "slope_growth": 0.0}).cell
    assert text8.schedule(40) == {"slope": 1.0}


def test_the_same_numbers_for_all_gates() -> None:
    config = TrialConfig().with_values(
        {"cell": "hm_lstm", "hm_gates": "same", "hidden_size": 6, "hm_output": 4}
    )
    p = config.cell.initial(config.model, 5, InitialDraw(config.model, 3))
    for name in ("w1_DG", "u2_HG", "w3_HG"):
        first, *others = p[name][:, :24].chunk(4, dim=1)
        assert all(torch.equal(first, other) for other in others), name
