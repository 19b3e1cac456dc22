"""Cells that normalise: recurrent batch norm against the oracles (spec sections 5, 13), layer
norm."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.cell_oracles import tensor
from zoneout_core.cells import Trajectory
from zoneout_core.cells.bn_lstm import BatchNormLSTM
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.made_cells import make
from zoneout_core.masking.sites import Sites
from zoneout_core.network.init import InitialDraw

F64 = torch.float64
STATISTICS = {
    "a_mean": "mean_u_TG",
    "a_var": "var_u_TG",
    "b_mean": "mean_w_TG",
    "b_var": "var_w_TG",
    "c_mean": "mean_c_TH",
    "c_var": "var_c_TH",
}
"""The oracle's names of the statistics, and ours."""
PARAMETERS = {
    "Wx": "w_DG",
    "Wh": "u_HG",
    "gamma_a": "gamma_u_G",
    "gamma_b": "gamma_w_G",
    "beta_ab": "b_G",
    "gamma_c": "gamma_c_H",
    "beta_c": "beta_c_H",
}


def ours(value: Any) -> Tensor:
    """Blocks g, f, i, o -> i, f, o, g."""
    g, f, i, o = torch.as_tensor(value, dtype=F64).chunk(4, dim=-1)
    return torch.cat([i, f, o, g], dim=-1)


def inputs_of(oracles: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor, tuple[Tensor, ...]]:
    inputs = oracles["recurrent_batch_norm"]["inputs"]
    assert inputs["gate_order_in_4H_blocks"] == ["g", "f", "i", "o"]
    p = {
        name: (
            tensor(inputs[theirs], F64) if theirs in ("gamma_c", "beta_c") else ours(inputs[theirs])
        ).requires_grad_()
        for theirs, name in PARAMETERS.items()
    }
    h, c = (tensor(inputs[name], F64).requires_grad_() for name in ("h0", "c0"))
    return p, tensor(inputs["X"], F64).requires_grad_(), (h, c)


def rbn(oracles: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in oracles["recurrent_batch_norm"]["cases"] if one["name"] == name]
    return found


def start_of(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (*(value[None] for value in state), torch.zeros(1, 1, dtype=F64))


def close(value: Tensor, expected: Any, atol: float) -> None:
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=F64), rtol=0, atol=atol)


def trained(oracles: dict[str, Any], name: str = "rbn_train") -> Trajectory:
    p, x, state = inputs_of(oracles)
    mask = rbn(oracles, name)["mask"]
    keep = None if mask is None else tensor(mask, F64)
    sites = Sites(keep_cells=keep, keep_states=keep)
    return BatchNormLSTM().run(p, x, start_of(state), sites, training=True)


@pytest.mark.parametrize("name", ["rbn_train", "rbn_zoneout_shared_train"])
def test_batch_norm_in_training(oracles: dict[str, Any], name: str) -> None:
    wanted, weights = (
        rbn(oracles, name),
        tensor(oracles["recurrent_batch_norm"]["inputs"]["loss_weights_h"], F64),
    )
    p, x, state = inputs_of(oracles)
    keep = None if wanted["mask"] is None else tensor(wanted["mask"], F64)
    sites = Sites(keep_cells=keep, keep_states=keep)
    found = BatchNormLSTM().run(p, x, start_of(state), sites, training=True)
    loss = (found.states[0] * weights).sum()
    loss.backward()
    for key, value in zip("hc", found.states, strict=False):
        close(value, wanted["outputs"][key], 1e-12)
    close(loss, wanted["loss"], 1e-12)
    for t, statistics in enumerate(wanted["batch_stats"]):
        for theirs, name_TG in STATISTICS.items():
            expected = statistics[theirs] if theirs[0] == "c" else ours(statistics[theirs])
            close(found.statistics[name_TG][t], expected, 1e-12)
    gradients = {"X": x.grad, "h0": state[0].grad, "c0": state[1].grad}
    for key, value in gradients.items():
        close(value, wanted["grads"][key], 1e-10)
    for theirs, name_G in PARAMETERS.items():
        expected = wanted["grads"][theirs]
        close(
            p[name_G].grad, expected if theirs in ("gamma_c", "beta_c") else ours(expected), 1e-10
        )


@pytest.mark.parametrize("name", ["rbn_eval_popstats", "rbn_zoneout_eval_popstats"])
def test_batch_norm_with_population_statistics(oracles: dict[str, Any], name: str) -> None:
    """After one move of the running statistics towards those of the training batch."""
    cell, wanted = BatchNormLSTM(), rbn(oracles, name)
    p, x, state = inputs_of(oracles)
    model = TrialConfig().with_values({"hidden_size": 3, "cell": "bn_lstm"}).model
    running = trained(oracles).statistics
    for key, (start, shape) in cell.statistics(model, 2).items():
        p[key] = torch.full(shape, start, dtype=F64).lerp(running[key], cell.statistics_rate)
    for t, statistics in enumerate(rbn(oracles, "rbn_eval_popstats")["pop_stats"]):
        for theirs, key in STATISTICS.items():
            close(
                p[key][t],
                statistics[theirs] if theirs[0] == "c" else ours(statistics[theirs]),
                1e-12,
            )
    keep = tensor(wanted["z"], F64).view(1, 1, 1) if "z" in wanted else None
    found = cell.run(
        p, x, start_of(state), Sites(keep_cells=keep, keep_states=keep), training=False
    )
    assert found.statistics == {}
    for key, value in zip("hc", found.states, strict=False):
        close(value, wanted["outputs"][key], 1e-12)


@pytest.mark.parametrize("products", ["separate", "joint"])
@pytest.mark.parametrize("cell", ["read", "forward", "none"])
def test_forms_of_batch_norm(products: str, cell: str) -> None:
    """Spec section 11.3, written out a second time."""
    made = make("bn_lstm", {"batch_norm": products, "batch_norm_cell": cell}, batch=4)
    p, (h, c, _) = made.p, made.state
    found = made.run()

    def norm(t: int, what: str, v: Tensor) -> Tensor:
        mean, var = v.mean(0), v.var(0, correction=0)
        name, axis = what.split("_")
        close(found.statistics[f"mean_{name}_T{axis}"][t], mean, 1e-12)
        close(found.statistics[f"var_{name}_T{axis}"][t], var, 1e-12)
        return (v - mean) / (var + 1e-5).sqrt() * p[f"gamma_{what}"]

    for t, x in enumerate(torch.nn.functional.one_hot(made.x, 5).double()):
        from_h, from_x = h @ p["u_HG"], x @ p["w_DG"]
        if products == "separate":
            a = norm(t, "u_G", from_h) + norm(t, "w_G", from_x)
        else:
            a = norm(t, "a_G", from_h + from_x)
        i, f, o, g = (a + p["b_G"]).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        read = norm(t, "c_H", c) + p["beta_c_H"] if cell != "none" else c
        c = read if cell == "forward" else c
        h = o.sigmoid() * read.tanh()
        close(found.states[0][t], h, 1e-12)
        close(found.states[1][t], c, 1e-12)


def test_steps_beyond_the_training_length_reuse_its_last_statistics() -> None:
    made = make("bn_lstm", {}, steps=3)
    longer = {
        key: torch.cat([made.p[key], made.p[key][-1:].expand(4, -1)]) for key in STATISTICS.values()
    }
    x = torch.cat([made.x, made.x, made.x[:1]])
    short, long = made.run(training=False, x=x), made.run(training=False, x=x, p=longer)
    assert all(
        torch.equal(one, other) for one, other in zip(short.states, long.states, strict=True)
    )
    assert short.states[2][:, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert not torch.equal(
        short.states[0],
        made.run(training=False, x=x, p={"mean_u_TG": longer["mean_u_TG"] + 1}).states[0],
    )


def test_constant_inputs_have_no_spread_and_give_beta() -> None:
    """var = 0 at the first step of a trainable start, and at pixels that are always black: forward
    exactly beta."""
    made = make("bn_lstm", {})
    same = torch.zeros_like(made.x)
    state = (*(value[:1] for value in made.state[:2]), made.state[2])
    h, c, _ = made.run(x=same, state=state).states
    i, f, _, g = made.p["b_G"].chunk(4)
    close(c[0], (f.sigmoid() * made.state[1][0] + i.sigmoid() * g.tanh()).expand(3, -1), 1e-12)
    assert h.isfinite().all()


def test_fresh_batch_norm_starts_at_a_tenth() -> None:
    config = TrialConfig().with_values({"cell": "bn_lstm", "hidden_size": 4})
    cell = config.cell
    p = cell.initial(config.model, 3, InitialDraw(config.model, 0))
    assert all(p[name].eq(0.1).all() for name in ("gamma_u_G", "gamma_w_G", "gamma_c_H"))
    assert not p["beta_c_H"].any()
    assert p["b_G"].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert cell.statistics_rate == 0.01
