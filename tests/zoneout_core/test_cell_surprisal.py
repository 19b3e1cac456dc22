"""Surprisal-driven zoneout against its oracle and by its equations (spec section 9.15)."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.cell_oracles import BLOCKS, side_by_side, tensor
from zoneout_core.cells.surprisal_lstm import SurprisalLSTM
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.made_cells import make
from zoneout_core.errors import ConfigError
from zoneout_core.masking.sites import Sites
from zoneout_core.network.init import InitialDraw

F64 = torch.float64


def oracle(
    oracles: dict[str, Any],
) -> tuple[dict[str, Tensor], Tensor, tuple[Tensor, ...], Tensor, dict[str, Any]]:
    """Parameters, the symbols of one step, the states before it, its uniform numbers, and what
    comes out.

    The oracle gives p_{t-1} itself. The output layer's bias is made to give it from h_{t-1}, which
    needs one for each example: the two examples are therefore run by themselves.
    """
    inputs = oracles["surprisal_zoneout_step"]["inputs"]
    p = {
        "w_DG": side_by_side(inputs["W"], BLOCKS["lstm"], F64),
        "u_HG": side_by_side(inputs["U"], BLOCKS["lstm"], F64),
        "b_G": side_by_side(inputs["b"], BLOCKS["lstm"], F64),
        "v_G": side_by_side(inputs["V"], BLOCKS["lstm"], F64)[0],
        "out_w_HV": tensor(inputs["Wy"], F64),
    }
    state = tuple(tensor(inputs[name], F64) for name in ("h_prev", "c_prev"))
    x_1B = tensor(inputs["x"], F64).argmax(-1)[None]
    p["out_b_V"] = tensor(inputs["p_prev"], F64).log() - state[0] @ p["out_w_HV"]
    return (
        p,
        x_1B,
        state,
        tensor(inputs["u"], F64)[None],
        oracles["surprisal_zoneout_step"]["outputs"],
    )


@pytest.mark.parametrize("form", ["poster", "code"])
@pytest.mark.parametrize("example", [0, 1])
def test_step_of_the_oracle(oracles: dict[str, Any], form: str, example: int) -> None:
    p, x, state, uniform, wanted = oracle(oracles)
    only = slice(example, example + 1)
    p = p | {"out_b_V": p["out_b_V"][example]}
    sites = Sites(uniform=uniform[:, only])
    cell = SurprisalLSTM(tau=0.2, surprisal_state=form)
    h, c = cell.run(p, x[:, only], tuple(value[only] for value in state), sites, training=True).last
    torch.testing.assert_close(c, tensor(wanted["c"], F64)[only], rtol=0, atol=1e-12)
    torch.testing.assert_close(h, tensor(wanted[f"h_{form}"], F64)[only], rtol=0, atol=1e-12)


def test_a_unit_is_updated_where_its_number_is_at_most_its_probability(
    oracles: dict[str, Any],
) -> None:
    """Numbers at and just above q decide the other way; without numbers, q itself stands for Z."""
    p, x, state, _, wanted = oracle(oracles)
    q = tensor(wanted["update_prob"], F64)
    for example in (0, 1):
        only = slice(example, example + 1)
        own = p | {"out_b_V": p["out_b_V"][example]}
        start = tuple(value[only] for value in state)

        def cells(
            uniform: Tensor | None, own: Any = own, start: Any = start, only: Any = only
        ) -> Tensor:
            return (
                SurprisalLSTM()
                .run(own, x[:, only], start, Sites(uniform=uniform), training=False)
                .last[1]
            )

        updated, kept = cells(q[None, only] - 1e-12), cells(q[None, only] + 1e-12)
        assert torch.equal(kept, start[1])
        torch.testing.assert_close(
            cells(None), kept + q[only] * (updated - kept), rtol=0, atol=1e-12
        )


def test_gradients_flow_through_surprise_but_not_through_the_choice() -> None:
    """Against the same equations with Z as a constant: every gradient, that of the output layer's
    among them."""
    made = make("surprisal_lstm", {})
    names = [*made.trained, "out_w_HV", "out_b_V"]
    p, q = ({name: made.p[name].clone().requires_grad_() for name in names} for _ in range(2))
    made.run(p=p).states[0].sin().sum().backward()

    h, c = made.state
    loss = torch.zeros(())
    for x in made.x:
        predicted = (h @ q["out_w_HV"] + q["out_b_V"]).softmax(-1)
        one_hot = torch.nn.functional.one_hot(x, 5).double()
        s = (predicted * one_hot).sum(-1, keepdim=True).log()
        i, f, o, g = (one_hot @ q["w_DG"] + h @ q["u_HG"] + s * q["v_G"] + q["b_G"]).chunk(
            4, dim=-1
        )
        z = (0.2 + ((predicted - one_hot) @ q["out_w_HV"].T).abs()).clamp(max=1).detach()
        c = (1 - f.sigmoid() * z) * c + z * i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        loss = loss + h.sin().sum()
    loss.backward()
    for name in names:
        torch.testing.assert_close(p[name].grad, q[name].grad, rtol=0, atol=1e-12)
    assert p["out_w_HV"].grad.any()


def test_forgetting_starts_low() -> None:
    """f says how much is forgotten here: its bias starts at -1."""
    config = TrialConfig().with_values({"cell": "surprisal_lstm", "hidden_size": 3})
    p = config.cell.initial(config.model, 5, InitialDraw(config.model, 0))
    assert p["b_G"].tolist() == [0.0] * 3 + [-1.0] * 3 + [0.0] * 6
    assert not p["v_G"].any()


def test_it_needs_symbols_that_it_predicts() -> None:
    made = make("surprisal_lstm", {})
    with pytest.raises(ConfigError) as caught:
        made.run(p={"out_b_V": torch.zeros(4, dtype=F64)})
    assert str(caught.value) == (
        "model.cell must be one that can read what this task gives it, but surprisal_lstm compares the symbols it reads "
        "with those it predicted. Take a task that predicts the next symbol, or another cell."
    )
