"""What zoneout_core/compat.py takes for granted about PyTorch."""

import inspect

import pytest
import torch
from torch import nn

from zoneout_core import compat


def test_onednn_multiplies_as_torch_does() -> None:
    assert compat.has_onednn_product(), (
        "torch has no private operators of oneDNN any more: without them a CPU is half as fast"
    )
    generator = torch.Generator().manual_seed(1)
    a_NK = torch.rand(7, 40, generator=generator)
    weight_PK = torch.rand(24, 40, generator=generator)
    expected = a_NK @ weight_PK.t()
    prepared = compat.onednn_prepared(weight_PK, rows=7)
    torch.testing.assert_close(compat.onednn_product(a_NK, weight_PK), expected)
    torch.testing.assert_close(compat.onednn_product(a_NK, prepared), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_onednn_says_which_precisions_it_has(dtype: torch.dtype) -> None:
    assert compat.onednn_supports(dtype) in (True, False), "torch cannot be asked any more"


class Counting(compat.MovedModule):
    def __init__(self) -> None:
        super().__init__()
        self.moves = 0
        self.weight = nn.Parameter(torch.zeros(2))

    def after_move(self) -> None:
        self.moves += 1


def test_a_module_hears_of_every_move_of_itself_and_its_parent() -> None:
    module = Counting()
    parent = nn.Sequential(module)
    moves = (
        lambda: module.to("cpu"),
        lambda: module.double(),
        lambda: parent.float(),
        lambda: parent.to(torch.float64),
        lambda: parent.to_empty(device="meta"),
    )
    for count, move in enumerate(moves, start=1):
        move()
        assert module.moves == count, inspect.getsource(nn.Module._apply)


def test_torch_has_the_kernels_of_its_layers_under_public_names() -> None:
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        assert callable(getattr(torch, name))
