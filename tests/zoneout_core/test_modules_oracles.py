"""The steps of the drop-in modules by the oracles (spec section 13)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.cell_oracles import Case, case, expected, step_by_step, tensor
from zoneout_core import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN
from zoneout_core.cells import State
from zoneout_core.modules.base import ZoneoutBase
from zoneout_core.modules.sequences import run
from zoneout_core.modules.weights import Weights

ORACLES = [
    *(
        f"lstm_{name}"
        for name in (
            "plain",
            "plain_forget_bias_1",
            "stochastic_depth_train",
            "stochastic_depth_eval",
        )
    ),
    *(
        f"lstm_zoneout_{name}"
        for name in ("train", "eval", "cells_only_train", "states_only_train", "all_ones")
    ),
    *(
        f"lstm_zoneout_{name}"
        for name in ("shared_mask_train", "shared_mask_eval", "gaussian_train")
    ),
    *(
        f"{cell}_{name}"
        for cell in ("gru", "rnn")
        for name in ("plain", "zoneout_train", "zoneout_eval")
    ),
    "rnn_relu_zoneout_train",
]


@pytest.mark.parametrize("name", ORACLES)
def test_oracles(oracles: dict[str, Any], name: str) -> None:
    """Every state and every gradient, by the modules' own step; the GRU of the oracles resets
    before the product."""
    one = case(oracles, name, torch.float64)
    found = step_by_step(one, through_module)
    for key, value in expected(one).items():
        atol = 1e-10 if key in one.expected["grads"] else 1e-12
        torch.testing.assert_close(found[key], tensor(value, torch.float64), rtol=0, atol=atol)


def through_module(one: Case, state: State, t: int) -> State:
    """The states after step `t`, from one step of a module's loop."""
    inputs, hidden = one.x.shape[-1], state[0].shape[-1]
    module = MODULES[one.expected["cell"]](
        inputs, hidden, one.expected["settings"].get("act", "tanh")
    )
    order = [0, 1, 3, 2] if isinstance(module, ZoneoutLSTM) else range(len(one.blocks))

    def theirs(name: str) -> Tensor:
        blocks = one.p[name].chunk(len(one.blocks), dim=-1)
        return torch.cat([blocks[gate] for gate in order], dim=-1).movedim(-1, 0)

    weights = Weights(theirs("w_DG"), theirs("u_HG"), theirs("b_G"), torch.zeros_like(one.p["b_G"]))
    a_BG, step = module._layer(one.x[t], weights)
    sites = one.sites.at(t)
    keeps = (sites.keep_states, sites.keep_cells)[: len(state)]
    _, last = run(step, a_BG, [len(a_BG)], state, [keeps], reverse=False)
    return tuple(
        value.clone() for value in last
    )  # without masks h reads the very tensor c: apart, dL_dc is c's alone


MODULES: dict[str, Callable[[int, int, str], ZoneoutBase]] = {
    "lstm": lambda inputs, hidden, _: ZoneoutLSTM(inputs, hidden),
    "gru": lambda inputs, hidden, _: ZoneoutGRU(inputs, hidden, reset="before"),
    "rnn": lambda inputs, hidden, activation: ZoneoutRNN(inputs, hidden, nonlinearity=activation),
}
