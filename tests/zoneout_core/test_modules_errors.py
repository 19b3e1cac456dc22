"""What the drop-in modules refuse, and what they say: rule, value, next step."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoneout_core import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN
from zoneout_core.errors import ConfigError, UnknownName

ARGUMENTS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "projection": (
        ZoneoutLSTM,
        {"proj_size": 2},
        ConfigError,
        "proj_size must be 0, but is 2: zoneout mixes a state with its own past, and the paper has no projected "
        "states. Put a torch.nn.Linear behind the module instead.",
    ),
    "above one": (
        ZoneoutLSTM,
        {"z_cells": 1.2},
        ConfigError,
        "z_cells must be a number from 0 to 1, the probability of KEEPING a value, or a tensor of such, but is 1.2.",
    ),
    "no number": (
        ZoneoutGRU,
        {"z_states": None},
        ConfigError,
        "z_states must be a number from 0 to 1, the probability of KEEPING a value, or a tensor of such, but is None.",
    ),
    "not a number": (
        ZoneoutGRU,
        {"z_states": float("nan")},
        ConfigError,
        "z_states must be a number from 0 to 1, the probability of KEEPING a value, or a tensor of such, but is nan.",
    ),
    "shape": (
        ZoneoutRNN,
        {"z_states": torch.zeros(4), "num_layers": 2},
        ConfigError,
        "z_states must be one number or a tensor [5] (one for each unit), or [2, 5] or [2, 1] (layers times directions "
        "first), but has the shape [4].",
    ),
    "values": (
        ZoneoutRNN,
        {"z_states": torch.linspace(-0.5, 2, 5)},
        ConfigError,
        "z_states must hold probabilities from 0 to 1, but goes from -0.5 to 2.",
    ),
    "gradient": (
        ZoneoutRNN,
        {"z_states": torch.zeros(5, requires_grad=True)},
        ConfigError,
        "z_states must be no Parameter and want no gradient, since a mask that is drawn passes none on to it, but is a "
        "Tensor. Give it as z_states.detach(), which makes it a constant.",
    ),
    "a parameter": (
        ZoneoutLSTM,
        {"z_cells": torch.nn.Parameter(torch.tensor(0.5))},
        ConfigError,
        "z_cells must be no Parameter and want no gradient, since a mask that is drawn passes none on to it, but is a "
        "Parameter. Give it as z_cells.detach(), which makes it a constant.",
    ),
    "a frozen parameter": (
        ZoneoutGRU,
        {"z_states": torch.nn.Parameter(torch.zeros(5), requires_grad=False)},
        ConfigError,
        "z_states must be no Parameter and want no gradient, since a mask that is drawn passes none on to it, but is a "
        "Parameter. Give it as z_states.detach(), which makes it a constant.",
    ),
    "no numbers": (
        ZoneoutRNN,
        {"z_states": torch.zeros(5, device="meta"), "device": "meta"},
        ConfigError,
        "z_states must have numbers, but is on the meta device. Give it as a tensor of the CPU.",
    ),
    "mask": (
        ZoneoutLSTM,
        {"mask": "gausian"},
        UnknownName,
        "There is no mask named 'gausian'. Did you mean 'gaussian'? "
        "What exists: bernoulli, depth, gaussian, shared, static.",
    ),
    "static without steps": (
        ZoneoutLSTM,
        {"mask": "static"},
        ConfigError,
        'steps must be given with mask="static", as the number of steps to draw masks for, but is None.',
    ),
    "steps without static": (
        ZoneoutLSTM,
        {"steps": 7},
        ConfigError,
        'steps must be left out unless mask="static", but is 7 with mask="bernoulli".',
    ),
    "no steps": (
        ZoneoutLSTM,
        {"mask": "static", "steps": 0},
        ConfigError,
        "steps must be at least 1, but is 0. Give the length of the longest sequence.",
    ),
    "reset": (
        ZoneoutGRU,
        {"reset": "befor"},
        UnknownName,
        "There is no reset named 'befor'. Did you mean 'before'? What exists: after, before.",
    ),
    "nonlinearity": (
        ZoneoutRNN,
        {"nonlinearity": "rely"},
        UnknownName,
        "There is no nonlinearity named 'rely'. Did you mean 'relu'? What exists: relu, tanh.",
    ),
    "torch's own": (
        ZoneoutRNN,
        {"num_layers": 0},
        ValueError,
        "num_layers must be greater than zero",
    ),
}


@pytest.mark.parametrize(("kind", "arguments", "error", "text"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(kind: Any, arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        kind(3, 5, **arguments)
    assert str(caught.value) == text
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("z", [1, 0, np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_numbers_of_other_libraries_are_rates(z: Any) -> None:
    module = ZoneoutRNN(3, 5, z_states=z)
    assert isinstance(module.z_states, float)
    assert module.z_states == float(z)


def test_a_rate_that_is_not_there_is_refused() -> None:
    module = ZoneoutGRU(3, 5)
    with pytest.raises(AttributeError) as caught:
        module.z_cells = 0.5
    assert str(caught.value) == "ZoneoutGRU has no z_cells. What it has: z_states."
    with pytest.raises(ConfigError, match="z_states must be no Parameter"):
        module.z_states = nn.Parameter(torch.zeros(5))
    with pytest.raises(ConfigError, match="but is 2"):
        module.z_states = 2
    assert module.z_states == 0.0


def test_the_papers_gru_is_not_torchs() -> None:
    with pytest.raises(ConfigError) as caught:
        ZoneoutGRU(3, 5, reset="before").to_torch()
    assert str(caught.value) == (
        'reset must be "after" for to_torch(), but is "before": torch.nn.GRU resets after the product, and would compute '
        "something else with these weights. Keep the ZoneoutGRU, with z_states = 0."
    )


STATE = torch.zeros(1, 2, 5)
INPUTS: dict[str, tuple[Any, Any, str]] = {
    "one axis": (
        torch.zeros(3),
        None,
        "the input must be [steps, batch, input], or [steps, input] without a batch, but has the shape [3].",
    ),
    "width": (
        torch.zeros(4, 2, 6),
        None,
        "the input's last axis must be input_size=3, but its shape is [4, 2, 6]. "
        "Mind that batch_first says which of the first two axes is the batch.",
    ),
    "no steps": (
        torch.zeros(0, 2, 3),
        None,
        "the input must have at least one step, but its shape is [0, 2, 3].",
    ),
    "precision": (
        torch.zeros(4, 2, 3, dtype=torch.float64),
        None,
        "the input must have the precision of the weights, torch.float32, but has torch.float64. "
        "Convert it with .to(torch.float32).",
    ),
    "one state": (
        torch.zeros(4, 2, 3),
        STATE,
        "the initial state must be a tuple of two tensors (h_0, c_0), but is (Tensor).",
    ),
    "batch of a state": (
        torch.zeros(4, 2, 3),
        (STATE, torch.zeros(1, 3, 5)),
        "c_0 must be [layers * directions, batch, H] = [1, 2, 5], but has the shape [1, 3, 5].",
    ),
    "a batch too many": (
        torch.zeros(4, 3),
        (STATE, STATE),
        "h_0 must be [layers * directions, H] = [1, 5], as the input has no batch, but has the shape [1, 2, 5].",
    ),
    "precision of a state": (
        torch.zeros(4, 2, 3),
        (STATE, STATE.double()),
        "c_0 must have the precision of the weights, torch.float32, but has torch.float64. "
        "Convert it with .to(torch.float32).",
    ),
}


@pytest.mark.parametrize("z_cells", [0.0, 0.5])
@pytest.mark.parametrize(("given", "hx", "text"), INPUTS.values(), ids=INPUTS)
def test_inputs(given: Any, hx: Any, text: str, z_cells: float) -> None:
    with pytest.raises(ValueError) as caught:
        ZoneoutLSTM(3, 5, z_cells=z_cells)(given, hx)
    assert str(caught.value) == f"ZoneoutLSTM: {text}"


def test_inputs_of_the_others() -> None:
    with pytest.raises(TypeError) as wrong:
        ZoneoutLSTM(3, 5)([1.0])
    assert (
        str(wrong.value)
        == "ZoneoutLSTM: the input must be a tensor or a PackedSequence, but is a list."
    )
    with pytest.raises(ValueError) as caught:
        ZoneoutGRU(3, 5)(torch.zeros(4, 2, 3), (STATE, STATE))
    assert (
        str(caught.value)
        == "ZoneoutGRU: the initial state must be one tensor h_0, but is (Tensor, Tensor)."
    )
    with pytest.raises(ValueError) as caught:
        ZoneoutRNN(3, 5, batch_first=True)(torch.zeros(4, 0, 3))
    assert (
        str(caught.value)
        == "ZoneoutRNN: the input must have at least one step, but its shape is [4, 0, 3]."
    )


def test_more_steps_than_static_masks() -> None:
    module = ZoneoutLSTM(3, 5, z_cells=0.5, mask="static", steps=3)
    with pytest.raises(ValueError) as caught:
        module(torch.zeros(4, 2, 3))
    assert str(caught.value) == (
        "A sequence with static masks may have at most steps=3 steps, but this one has 4. "
        "Cut it into chunks, or build the module with more steps."
    )


def test_what_a_module_says_of_itself() -> None:
    assert (
        repr(ZoneoutLSTM(3, 5, z_cells=0.5, z_states=0.05))
        == "ZoneoutLSTM(3, 5, z_cells=0.5, z_states=0.05)"
    )
    assert repr(
        ZoneoutGRU(
            3, 5, 2, batch_first=True, z_states=torch.tensor([0, 0.5, 1, 0.5, 0.25]), reset="before"
        )
    ) == (
        "ZoneoutGRU(3, 5, num_layers=2, batch_first=True, z_states=<5 rates from 0 to 1>, reset='before')"
    )
    assert repr(ZoneoutLSTM(3, 2, 4, z_cells=torch.ones(4, 2))) == (
        "ZoneoutLSTM(3, 2, num_layers=4, z_cells=<8 rates from 1 to 1>, z_states=0)"
    )
    assert repr(ZoneoutRNN(3, 5, 1, "relu", z_states=0.1, mask="static", steps=9)) == (
        "ZoneoutRNN(3, 5, z_states=0.1, mask='static', steps=9)"
    )
