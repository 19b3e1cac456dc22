"""The drop-in modules in the place of torch.nn's: with z = 0 they are torch.nn's, in every form,
and weights go both ways."""

import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import zoneout_core
from tests.zoneout_core.modules_truth import ALL, differences, flat, gradients, rates
from zoneout_core import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN
from zoneout_core.modules.base import ZoneoutBase

kinds = pytest.mark.parametrize("kind", ALL)
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "deep": {"num_layers": 3},
    "both ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}


def pair(kind: type[ZoneoutBase], looped: bool, **arguments: Any) -> tuple[nn.RNNBase, ZoneoutBase]:
    """torch.nn's and ours with its weights; `looped`: rates are tensors of zeros, so that our own
    loop runs."""
    torch.manual_seed(2)
    theirs = kind.TORCH(3, 5, dtype=torch.float64, **arguments)
    zero: Any = torch.zeros(5) if looped else 0.0
    ours = kind.from_torch(theirs, **rates(kind, zero, zero))
    assert ours.is_plain() is not looped
    return theirs, ours


def states(module: nn.RNNBase, *batch: int) -> Any:
    shape = (module.num_layers * (2 if module.bidirectional else 1), *batch, 5)
    h_0, c_0 = torch.randn(2, *shape, dtype=torch.float64)
    return (h_0, c_0) if isinstance(module, nn.LSTM) else h_0


@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize("arguments", SHAPES.values(), ids=SHAPES)
@kinds
def test_without_zoneout_it_is_torchs_module(
    kind: type[ZoneoutBase], arguments: dict[str, Any], looped: bool
) -> None:
    theirs, ours = pair(kind, looped, **arguments)
    batch = torch.randn(4, 7, 3, dtype=torch.float64, requires_grad=True)
    single = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    examples = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (2, 5, 1, 5)]
    size = 4 if theirs.batch_first else 7
    cases: list[tuple[Any, tuple[Tensor, ...], tuple[int, ...]]] = [
        (batch, (batch,), (size,)),
        (single, (single,), ()),
        (pack_sequence(examples, enforce_sorted=False), tuple(examples), (4,)),
    ]
    for given, leaves, rows in cases:
        for hx in (None, states(theirs, *rows)):
            expected, found = theirs(given, hx), ours(given, hx)
            assert type(found[0]) is type(expected[0])
            assert type(found[1]) is type(expected[1])
            assert differences(flat(found), flat(expected)) < 1e-12
            assert (
                differences(gradients(ours, found, *leaves), gradients(theirs, expected, *leaves))
                < 1e-12
            )
            assert differences(flat(ours.eval()(given, hx)), flat(expected)) < 1e-12
            ours.train()


@kinds
def test_in_single_precision(kind: type[ZoneoutBase]) -> None:
    theirs, ours = (module.float() for module in pair(kind, looped=True, num_layers=2))
    x_TBD = torch.randn(20, 6, 3, requires_grad=True)
    expected, found = theirs(x_TBD), ours(x_TBD)
    assert differences(flat(found), flat(expected)) < 1e-5
    assert (
        differences(gradients(ours, found, x_TBD), gradients(theirs, expected, x_TBD)) < 1e-4
    )  # of sums up to 100


def test_a_rectified_network() -> None:
    theirs = nn.RNN(3, 5, nonlinearity="relu", num_layers=2)
    ours = ZoneoutRNN.from_torch(theirs, z_states=torch.zeros(5))
    x_TBD = torch.randn(7, 2, 3)
    assert differences(flat(ours(x_TBD)), flat(theirs(x_TBD))) < 1e-6
    assert isinstance(back := ours.to_torch(), nn.RNN)
    assert back.nonlinearity == "relu"


def test_a_packed_sequence_goes_back_in_its_own_order() -> None:
    theirs, ours = pair(ZoneoutLSTM, looped=True, bidirectional=True)
    x_TBD = torch.randn(6, 4, 3, dtype=torch.float64)
    for lengths, ordered in (([6, 5, 5, 1], True), ([1, 6, 3, 6], False)):
        packed = pack_padded_sequence(x_TBD, torch.tensor(lengths), enforce_sorted=ordered)
        expected, found = theirs(packed), ours(packed)
        for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            one, other = getattr(found[0], name), getattr(expected[0], name)
            assert (one is None and other is None) or torch.equal(one, other)
        assert differences(flat(found), flat(expected)) < 1e-12


@kinds
def test_an_empty_batch_is_a_batch(kind: type[ZoneoutBase]) -> None:
    theirs, ours = pair(kind, looped=True, num_layers=2)
    x_TBD = torch.zeros(5, 0, 3, dtype=torch.float64)
    assert [one.shape for one in flat(ours(x_TBD))] == [one.shape for one in flat(theirs(x_TBD))]


@kinds
def test_names_shapes_and_start_values_are_torchs(kind: type[ZoneoutBase]) -> None:
    arguments: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
    torch.manual_seed(9)
    theirs = kind.TORCH(3, 5, **arguments).state_dict()
    torch.manual_seed(9)
    ours = kind(3, 5, **arguments, **rates(kind, 0.5, torch.full((5,), 0.5))).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@kinds
def test_weights_go_both_ways(kind: type[ZoneoutBase]) -> None:
    theirs = kind.TORCH(3, 5, num_layers=2, bidirectional=True).eval()
    theirs.weight_hh_l0.requires_grad_(False)
    ours = kind.from_torch(theirs, **rates(kind, 0.3))
    assert not ours.training
    assert [p.requires_grad for p in ours.parameters()] == [
        p.requires_grad for p in theirs.parameters()
    ]
    back = ours.to_torch()
    assert type(back) is kind.TORCH
    assert repr(back) == repr(theirs)
    kind.TORCH(3, 5, num_layers=2, bidirectional=True).load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for name, weight in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight)
        assert (
            back.state_dict()[name].data_ptr()
            != weight.data_ptr()
            != ours.state_dict()[name].data_ptr()
        )


def test_from_torch_refuses_another_kind() -> None:
    with pytest.raises(TypeError) as caught:
        ZoneoutLSTM.from_torch(nn.GRU(3, 5))
    assert str(caught.value) == "ZoneoutLSTM.from_torch takes a torch.nn.LSTM, but was given a GRU."


def test_dropout_between_layers_is_torchs() -> None:
    """With p = 1 nothing of the lower layer is left in training, and nothing is dropped in an
    evaluation."""
    theirs, ours = pair(ZoneoutGRU, looped=True, num_layers=2, dropout=1.0)
    x_TBD = torch.randn(5, 2, 3, dtype=torch.float64)
    assert differences(flat(ours(x_TBD)), flat(theirs(x_TBD))) < 1e-12
    assert torch.equal(ours(x_TBD)[0], ours(x_TBD + 1)[0])
    assert differences(flat(ours.eval()(x_TBD)), flat(theirs.eval()(x_TBD))) < 1e-12
    assert not torch.equal(ours(x_TBD)[0], ours(x_TBD + 1)[0])


def test_the_package_brings_torch_only_with_the_modules(repo_root: Path) -> None:
    code = "import sys, zoneout_core; print('torch' in sys.modules); zoneout_core.ZoneoutGRU; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"], done.stderr
    assert {"ZoneoutGRU", "ZoneoutLSTM", "ZoneoutRNN"} <= set(zoneout_core.__all__)
    with pytest.raises(
        AttributeError, match="module 'zoneout_core' has no attribute 'ZoneoutTransformer'"
    ):
        attrgetter("ZoneoutTransformer")(zoneout_core)


def test_the_examples_of_the_documentation_run(repo_root: Path) -> None:
    blocks = (repo_root / "docs" / "modules.md").read_text().split("```python\n")[1:]
    names: dict[str, Any] = {}
    exec("".join(block.partition("```")[0] for block in blocks), names)
    assert len(blocks) == 2
    assert names["output"].shape == (100, 32, 200)
    assert isinstance(names["plain"], nn.LSTM)
