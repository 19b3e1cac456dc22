"""The drop-in modules amid the rest of torch: autocast, compile, copies, data-parallel training,
functional calls, devices."""

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.checkpoint import checkpoint

from tests.zoneout_core.modules_truth import ALL, differences, flat, rates
from zoneout_core import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN
from zoneout_core.modules import KINDS
from zoneout_core.modules.base import ZoneoutBase

kinds = pytest.mark.parametrize("kind", ALL)
D, H = 3, 5


def make(kind: type[ZoneoutBase], **further: Any) -> ZoneoutBase:
    """Rates for each unit of the states, and one rate for the cells of an LSTM."""
    torch.manual_seed(4)
    arguments: dict[str, Any] = (
        {"num_layers": 2} | rates(kind, torch.linspace(0.1, 0.6, H), 0.5) | further
    )
    return kind(D, H, **arguments)


def seeded(module: Any, *inputs: Any) -> list[Tensor]:
    torch.manual_seed(6)
    return flat(module(*inputs))


@kinds
def test_autocast_computes_products_in_bfloat16_and_the_rest_in_float32(
    kind: type[ZoneoutBase],
) -> None:
    module, x_TBD = make(kind), torch.randn(6, 4, D)
    for training in (True, False):
        module.train(training)
        exact = seeded(module, x_TBD)
        with torch.autocast("cpu", torch.bfloat16):
            rough = seeded(module, x_TBD)
            from_rough_inputs = seeded(module, x_TBD.bfloat16())
        returned = torch.float32 if kind is ZoneoutGRU else torch.bfloat16
        assert {one.dtype for one in rough} == {returned}
        assert {one.dtype for one in from_rough_inputs} == {torch.bfloat16}
        assert 0 < differences(rough, exact) < 0.03
        assert differences(from_rough_inputs, exact) < 0.03
        if kind is ZoneoutGRU:
            assert rough[0].detach().bfloat16().ne(rough[0].detach()).any()
    sum(one.float().sum() for one in rough).backward()
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("mixed", [torch.bfloat16, torch.float16])
@kinds
def test_autocast_returns_what_torch_returns_whatever_z_is(
    kind: type[ZoneoutBase], mixed: torch.dtype
) -> None:
    """Where torch.nn's module runs at all: its LSTM raises on a processor whose oneDNN does not
    know the precision."""
    for weights in (torch.float32, torch.float64, mixed):
        for inputs in {torch.float64} if weights == torch.float64 else {torch.float32, mixed}:
            x_TBD = torch.randn(6, 4, D, dtype=inputs)
            found = []
            for z in (0.0, 0.5):
                module = kind(D, H, dtype=weights, **rates(kind, z, z))
                with torch.autocast("cpu", mixed):
                    found.append([one.dtype for one in flat(module(x_TBD))])
            assert found[0] == found[1]
            theirs = kind.TORCH(D, H, dtype=weights)
            try:
                with torch.autocast("cpu", mixed):
                    expected = [one.dtype for one in flat(theirs(x_TBD))]
            except RuntimeError as error:
                if kind is not ZoneoutLSTM or "primitive" not in str(error):
                    raise
                expected = [mixed] * 3
            assert found[0] == expected, (weights, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@kinds
def test_other_precisions(kind: type[ZoneoutBase], dtype: torch.dtype) -> None:
    module, x_TBD = make(kind), torch.randn(6, 4, D)
    exact = seeded(module, x_TBD)
    found = seeded(module.to(dtype), x_TBD.to(dtype))
    assert {one.dtype for one in found} == {dtype}
    assert differences([one.float() for one in found], exact) < (
        1e-6 if dtype == torch.float64 else 0.05
    )
    assert torch.equal(module.z_states, torch.linspace(0.1, 0.6, H)), "rates are not rounded along"


@pytest.mark.parametrize(
    ("kind", "mask"),
    [*((kind, "bernoulli") for kind in ALL), (ZoneoutLSTM, "static"), (ZoneoutRNN, "gaussian")],
)
def test_compiled_without_a_break_it_computes_the_same(kind: type[ZoneoutBase], mask: str) -> None:
    """Static masks and Gaussian ones go other ways than drawn 0/1 masks."""
    torch._dynamo.reset()
    module = make(kind, num_layers=1, mask=mask, **({"steps": 4} if mask == "static" else {}))
    x_TBD = torch.randn(2, 4, D, requires_grad=True)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for training in (True, False):
        module.train(training)
        expected, found = seeded(module, x_TBD), seeded(compiled, x_TBD)
        assert differences(found, expected) < 1e-6
        gradients = [torch.autograd.grad(one[0].square().sum(), x_TBD) for one in (found, expected)]
        assert differences(*gradients) < 1e-6
    module.z_states = 0.25
    assert differences(seeded(compiled, x_TBD), seeded(module, x_TBD)) < 1e-6
    module.z_states = 0.0
    if isinstance(module, ZoneoutLSTM):
        module.z_cells = 0.0
    assert module.is_plain()
    assert differences(seeded(compiled, x_TBD), seeded(module, x_TBD)) < 1e-6


def test_compiled_gru_with_a_rate_keeps() -> None:
    """torch.compile once took a property behind super() for true, and ran torch's kernel without
    zoneout."""
    torch._dynamo.reset()
    module = ZoneoutGRU(D, H, z_states=0.5).eval()
    x_TBD = torch.randn(3, 4, D)
    assert (
        differences(seeded(torch.compile(module, backend="eager"), x_TBD), seeded(module, x_TBD))
        < 1e-6
    )


def test_compiled_with_breaks_it_takes_packed_sequences() -> None:
    torch._dynamo.reset()
    module, packed = make(ZoneoutLSTM), pack_sequence([torch.randn(3, D), torch.randn(2, D)])
    compiled = torch.compile(module, backend="eager")
    assert differences(seeded(compiled, packed), seeded(module, packed)) < 1e-6


@kinds
def test_copies_and_files(kind: type[ZoneoutBase]) -> None:
    module = make(kind, mask="static", steps=7, generator=torch.Generator().manual_seed(3))
    x_TBD = torch.randn(7, 4, D)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copies = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    ]
    expected = seeded(module, x_TBD)
    for one in copies:
        assert repr(one) == repr(module)
        assert differences(seeded(one, x_TBD), expected) == 0
        one.z_states = 0.9
        assert differences(seeded(one, x_TBD), expected) > 0.01
        assert differences(seeded(module, x_TBD), expected) == 0
    state = {
        name: torch.empty_like(weight).copy_(weight) for name, weight in module.state_dict().items()
    }
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    other = make(kind, mask="static", steps=7)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert differences(seeded(other, x_TBD), expected) == 0


def double(kind: type[ZoneoutBase]) -> tuple[Any, list[Tensor]]:
    """A function of x, states and weights, with the same masks at every call; and values for
    them."""
    module = kind(2, 3, bidirectional=True, dtype=torch.float64, **rates(kind, 0.5, 0.4))
    names = [name for name, _ in module.named_parameters()]

    def call(x_TBD: Tensor, h_0: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        hx = (h_0, h_0 * 0.7) if kind is ZoneoutLSTM else h_0
        torch.manual_seed(6)
        return tuple(
            flat(
                torch.func.functional_call(
                    module, dict(zip(names, weights, strict=True)), (x_TBD, hx)
                )
            )
        )

    values = [
        torch.randn(3, 2, 2),
        torch.randn(2, 2, 3),
        *(torch.randn_like(p) for p in module.parameters()),
    ]
    return call, [value.double().detach().requires_grad_() for value in values]


@kinds
def test_gradients_of_the_first_and_second_order(kind: type[ZoneoutBase]) -> None:
    torch.manual_seed(4)
    call, values = double(kind)
    assert torch.autograd.gradcheck(call, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, values, fast_mode=True)


@kinds
def test_functional_calls_use_the_weights_given(kind: type[ZoneoutBase]) -> None:
    for z in (0.0, 0.5):
        module, x_TBD = kind(D, H, **rates(kind, z)), torch.randn(6, 4, D)
        halves = {name: weight.detach() / 2 for name, weight in module.named_parameters()}
        torch.manual_seed(6)
        found = flat(torch.func.functional_call(module, halves, (x_TBD,)))
        before = seeded(module, x_TBD)
        module.load_state_dict(halves)
        assert differences(found, seeded(module, x_TBD)) == 0
        assert differences(found, before) > 0.01


def test_gradients_of_each_example() -> None:
    module = ZoneoutLSTM(D, H, z_cells=0.5).eval()
    weights, x_BTD = dict(module.named_parameters()), torch.randn(4, 6, D)

    def loss(weights: dict[str, Tensor], x_TD: Tensor) -> Tensor:
        return torch.func.functional_call(module, weights, (x_TD,))[0].sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x_BTD)
    together = torch.autograd.grad(
        sum(loss(weights, x_TD) for x_TD in x_BTD), list(weights.values())
    )
    assert differences([one.sum(0) for one in each.values()], list(together)) < 1e-5


def test_checkpointed_activations_see_the_same_masks() -> None:
    module, x_TBD = make(ZoneoutLSTM), torch.randn(6, 4, D, requires_grad=True)
    gradients = []
    for run in (module, lambda x: checkpoint(module, x, use_reentrant=False)):
        gradients.append(torch.autograd.grad(seeded(run, x_TBD)[0].sum(), x_TBD)[0])
    assert torch.equal(*gradients)


@kinds
def test_no_step_reads_a_number_back_from_the_device(kind: type[ZoneoutBase]) -> None:
    """A meta tensor has no numbers: whatever would transfer one, or make one on the host, fails."""
    for mask in KINDS:
        module = make(
            kind,
            mask=mask,
            bidirectional=True,
            device="meta",
            **({"steps": 9} if mask == "static" else {}),
        )
        for training in (True, False):
            module.train(training)
            x_TBD = torch.empty(6, 4, D, device="meta")
            found = flat(module(x_TBD))
            assert {one.device.type for one in found} == {"meta"}
            assert [list(one.shape) for one in found][:2] == [[6, 4, 2 * H], [4, 4, H]]
    module.to_empty(device="cpu")
    module.reset_parameters()
    assert torch.equal(module.z_states, torch.linspace(0.1, 0.6, H))
    assert flat(module(torch.randn(6, 4, D)))[0].isfinite().all()
    assert int(module.static_states_l0.max()) < 2**24


@pytest.mark.timeout(600)  # starts processes that import torch
def test_two_processes_train_together(tmp_path: Path, repo_root: Path) -> None:
    command = [sys.executable, "-m", "tests.zoneout_core.ddp_rank"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path)],
            cwd=repo_root,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert differences(one["own"], other["own"]) > 0.01
    assert differences(one["together"], other["together"]) == 0
    mean = [(a + b) / 2 for a, b in zip(one["own"], other["own"], strict=True)]
    assert differences(one["together"], mean) < 1e-6
