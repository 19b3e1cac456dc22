"""The drop-in modules under torch.compile and torch.export: any batch size, every kind of mask,
rates that become 0."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from tests.zoneout_core.modules_truth import ALL, differences, flat, rates
from zoneout_core import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN
from zoneout_core.modules.base import ZoneoutBase

D, H, T = 3, 5, 2
pytestmark = pytest.mark.timeout(600)
"""Each test compiles, and the default backend calls a C++ compiler."""


def default_backend(test: Any) -> Any:
    """It calls a C++ compiler, whose headers it would compile beforehand, and its own import
    warns."""
    test = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")(test)
    test = pytest.mark.needs_compiler(test)
    return torch._inductor.config.patch(cpp_cache_precompile_headers=False)(test)


def make(kind: type[ZoneoutBase], z: float, **further: Any) -> ZoneoutBase:
    torch._dynamo.reset()
    torch.manual_seed(4)
    return kind(D, H, **rates(kind, z, z), **further)


def trained(module: Any, x_TBD: Tensor) -> list[Tensor]:
    """Output, last states, and the gradient of the input, with the same masks at every call."""
    torch.manual_seed(6)
    x_TBD = x_TBD.clone().requires_grad_()
    found = flat(module(x_TBD))
    gradient = torch.autograd.grad(sum(one.float().square().sum() for one in found), x_TBD)[0]
    return [*(one.detach() for one in found), gradient]


def check_batches(
    module: ZoneoutBase, compiled: Any, batches: Sequence[int], dtype: torch.dtype | None = None
) -> None:
    for batch in batches:
        x_TBD = torch.randn(T, batch, D, dtype=dtype)
        expected, found = trained(module, x_TBD), trained(compiled, x_TBD)
        assert [one.dtype for one in found] == [one.dtype for one in expected]
        bound = 1e-6 if dtype is None else 2e-2
        assert (
            differences([one.float() for one in found], [one.float() for one in expected]) < bound
        ), batch


@pytest.mark.parametrize(
    ("kind", "mask"),
    [
        *((kind, "bernoulli") for kind in ALL),
        *((ZoneoutRNN, mask) for mask in ("shared", "gaussian", "depth")),
    ],
)
def test_one_graph_draws_masks_for_any_batch_size(kind: type[ZoneoutBase], mask: str) -> None:
    """The last batch of an epoch is a short one. Compiled for any size, random functions once
    refused `generator=`."""
    module = make(kind, 0.5, mask=mask)
    check_batches(module, torch.compile(module, backend="aot_eager", fullgraph=True), (4, 3))


@default_backend
def test_the_default_backend_draws_masks_for_any_batch_size() -> None:
    module = make(ZoneoutRNN, 0.5)
    compiled = torch.compile(module, fullgraph=True)
    for batch in (4, 3):
        x_TBD = torch.randn(T, batch, D)
        output, _ = compiled(x_TBD)
        output.sum().backward()
        assert output.shape == (T, batch, H)
        kept = (output[1] == output[0]).double().mean()
        assert 0 < kept < 1, "some keep their value, which masks alone can do"


def test_without_zoneout_an_lstm_has_gradients() -> None:
    """oneDNN's fused layer inside a compiled graph cannot be differentiated."""
    module = make(ZoneoutLSTM, 0.0)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    check_batches(module, compiled, (4, 3))
    check_batches(module.eval(), compiled, (4,))
    with torch.no_grad():
        x_TBD = torch.randn(T, 3, D)
        assert (
            differences(
                flat(torch.compile(module, backend="aot_eager")(x_TBD)), flat(module(x_TBD))
            )
            < 1e-6
        )


@default_backend
def test_without_zoneout_an_lstm_has_gradients_with_the_default_backend() -> None:
    module = make(ZoneoutLSTM, 0.0)
    check_batches(module, torch.compile(module, fullgraph=True), (4,))


@pytest.mark.parametrize("kind", ALL)
def test_a_rate_may_become_zero_and_come_back(kind: type[ZoneoutBase]) -> None:
    module = make(kind, 0.5)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for z in (0.5, 0.0, 0.25):
        for name in kind.RATES:
            setattr(module, name, z)
        check_batches(module, compiled, (4,))


def test_other_numbers_of_steps_and_half_precision() -> None:
    module = make(ZoneoutGRU, 0.5).half()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    check_batches(module, compiled, (4, 3), torch.float16)
    x_TBD = torch.randn(T + 1, 4, D).half()
    assert differences(trained(compiled, x_TBD), trained(module, x_TBD)) < 2e-2


def test_autocast_inside_a_compiled_graph() -> None:
    module = make(ZoneoutLSTM, 0.0)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = flat(compiled(torch.randn(T, 4, D)))
    assert {one.dtype for one in found} == {torch.bfloat16}
    found[0].float().sum().backward()


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # the compiler looks at it
def test_a_generator_of_ones_own_compiles_with_breaks() -> None:
    module = make(ZoneoutRNN, 0.5, generator=torch.Generator().manual_seed(3))
    compiled, generator = torch.compile(module, backend="aot_eager"), module.generator
    assert generator is not None
    for batch in (4, 3):
        x_TBD = torch.randn(T, batch, D)
        state = generator.get_state()
        expected = flat(module(x_TBD))
        generator.set_state(state)
        assert differences(flat(compiled(x_TBD)), expected) < 1e-6
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(
            make(ZoneoutRNN, 0.5, generator=torch.Generator()), backend="eager", fullgraph=True
        )(x_TBD)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("z", [0.0, 0.5])
def test_packed_sequences_compile_with_breaks(z: float) -> None:
    module = make(ZoneoutLSTM if z == 0 else ZoneoutRNN, z)
    compiled = torch.compile(module, backend="aot_eager")
    for lengths in ((2, 1), (2, 2, 1)):
        packed = pack_sequence([torch.randn(length, D) for length in lengths])
        torch.manual_seed(6)
        expected = flat(module(packed))
        torch.manual_seed(6)
        found = flat(compiled(packed))
        found[0].sum().backward()
        assert differences(found, expected) < 1e-6


@pytest.mark.parametrize("z", [0.0, 0.5])
@pytest.mark.parametrize("kind", ALL)
def test_exported_for_any_batch_size(kind: type[ZoneoutBase], z: float) -> None:
    module = make(kind, z)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(module, (torch.randn(T, 4, D),), dynamic_shapes=({1: batch},))
    for size in (2, 7):
        x_TBD = torch.randn(T, size, D)
        torch.manual_seed(6)
        found = flat(program.module()(x_TBD))
        torch.manual_seed(6)
        assert differences(found, flat(module(x_TBD))) < 1e-6
