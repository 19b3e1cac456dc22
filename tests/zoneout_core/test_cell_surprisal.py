"""Surprisal-driven zoneout against its oracle and by its equations (spec section 9.15)."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.cell_oracles import BLOCKS, side_by_side, tensor
from zoneout_core.cells.surprisal_lstm import SurprisalLSTM
from zoneout_core.sites import Sites

F64 = torch.float64


def oracle(oracles: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor, tuple[Tensor, ...], Tensor, dict[str, Any]]:
    """Parameters, the symbols of one step, the states before it, its uniform numbers, and what comes out.

    The oracle gives p_{t-1} itself. The output layer's bias is made to give it from h_{t-1}, which needs one for each
    example: the two examples are therefore run by themselves.
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
    return p, x_1B, state, tensor(inputs["u"], F64)[None], oracles["surprisal_zoneout_step"]["outputs"]


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
