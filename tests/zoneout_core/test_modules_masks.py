"""What the drop-in modules keep: against the ground truth of the cells, the oracles, and what was
asked for."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.zoneout_core.modules_truth import ALL, Masks, differences, flat, gradients, rates, truth
from zoneout_core import ZoneoutGRU, ZoneoutLSTM
from zoneout_core.modules import KINDS, keep_masks
from zoneout_core.modules.base import ZoneoutBase

kinds = pytest.mark.parametrize("kind", ALL)
T, B, D, H = 7, 4, 3, 5
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64}


def module_and_inputs(
    kind: type[ZoneoutBase], **further: Any
) -> tuple[ZoneoutBase, Tensor, tuple[Tensor, ...]]:
    """Two layers, two directions, z_states 0.4 (and z_cells 0.6 of an LSTM), inputs and initial
    states."""
    torch.manual_seed(1)
    module = kind(D, H, **DEEP, **rates(kind, 0.4, 0.6) | further)
    x_TBD = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(4, B, H, dtype=torch.float64, requires_grad=True) for _ in kind.RATES)
    return module, x_TBD, state


def given(state: tuple[Tensor, ...]) -> Any:
    return state if len(state) > 1 else state[0]


def drawn_again(module: ZoneoutBase, rows: int) -> list[list[Tensor | None]]:
    """The masks [rows, H] of each layer and direction, in the order in which a forward pass draws
    them."""
    values = [getattr(module, name) for name in module.RATES]
    like_BH = torch.empty(B, H, dtype=torch.float64)
    return [keep_masks.draw(module.mask, values, rows, like_BH, None) for _ in module.all_weights]


def by_step(masks: list[list[Tensor | None]]) -> list[Masks]:
    """[T * B, H] as [T, B, H]."""
    return [[mask if mask is None else mask.view(T, B, -1) for mask in one] for one in masks]


@pytest.mark.parametrize("mask", ["bernoulli", "shared", "gaussian", "depth"])
@kinds
def test_training_is_the_cell_with_the_masks_drawn(kind: type[ZoneoutBase], mask: str) -> None:
    module, x_TBD, state = module_and_inputs(kind, mask=mask)
    torch.manual_seed(8)
    found = module(x_TBD, given(state))
    torch.manual_seed(8)
    masks = by_step(drawn_again(module, T * B))
    output, last = truth(module, x_TBD, state, masks)
    assert differences(flat(found), [output, *last]) < 1e-12
    of_cells = (output, tuple(last))
    assert (
        differences(
            gradients(module, found, x_TBD, *state), gradients(module, of_cells, x_TBD, *state)
        )
        < 1e-12
    )


@pytest.mark.parametrize(
    "further", [{}, {"z_states": torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])}], ids=["one", "each"]
)
@kinds
def test_an_evaluation_is_the_cell_with_expectations(
    kind: type[ZoneoutBase], further: dict[str, Any]
) -> None:
    module, x_TBD, state = module_and_inputs(kind, **further)
    module.eval()
    torch.manual_seed(8)
    before = torch.get_rng_state()
    found = module(x_TBD, given(state))
    assert torch.equal(before, torch.get_rng_state())
    masks: list[Masks] = [[torch.as_tensor(getattr(module, name)) for name in module.RATES]] * 4
    output, last = truth(module, x_TBD, state, masks)
    assert differences(flat(found), [output, *last]) < 1e-7  # z = 0.4 as a number, and in float32
    of_cells = (output, tuple(last))
    assert (
        differences(
            gradients(module, found, x_TBD, *state), gradients(module, of_cells, x_TBD, *state)
        )
        < 1e-5
    )


def test_reset_before_is_the_papers_gru() -> None:
    module, x_TBD, state = module_and_inputs(ZoneoutGRU, reset="before")
    torch.manual_seed(8)
    found = module(x_TBD, state[0])
    torch.manual_seed(8)
    masks = by_step(drawn_again(module, T * B))
    output, last = truth(module, x_TBD, state, masks)
    assert differences(flat(found), [output, *last]) < 1e-12
    module.z_states = 0.0
    output, last = truth(module, x_TBD, state, [[None]] * 4)
    assert differences(flat(module(x_TBD, state[0])), [output, *last]) < 1e-12
    module.reset = "after"
    assert differences(flat(module(x_TBD, state[0])), [output, *last]) > 0.01


@pytest.mark.parametrize("mask", KINDS)
@kinds
def test_packed_examples_are_run_for_their_own_length(kind: type[ZoneoutBase], mask: str) -> None:
    """Each example alone, with its share of the masks, through the ground truth."""
    further = {"steps": T} if mask == "static" else {}
    module, x_TBD, state = module_and_inputs(kind, mask=mask, **further)
    lengths = torch.tensor([3, 7, 1, 6])
    packed = pack_padded_sequence(x_TBD.detach(), lengths, enforce_sorted=False)
    torch.manual_seed(8)
    output, last = module(packed, given(state))
    output_TBH, found = pad_packed_sequence(output, total_length=T)
    assert found.tolist() == lengths.tolist()
    torch.manual_seed(8)
    if mask == "static":
        masks = [[m[:, None].expand(T, B, H) for m in one] for one in static_masks(module)]
    else:
        masks = [[_padded(m, packed) for m in one] for one in drawn_again(module, len(packed.data))]
    for b, steps in enumerate(lengths.tolist()):
        own = [[m[:steps, b : b + 1] for m in one] for one in masks]
        alone, end = truth(
            module, x_TBD[:steps, b : b + 1], tuple(one[:, b : b + 1] for one in state), own
        )
        assert differences([output_TBH[:steps, b : b + 1]], [alone]) < 1e-12
        lasts = last if isinstance(last, tuple) else (last,)
        assert differences([one[:, b : b + 1] for one in lasts], end) < 1e-12


def _padded(mask: Any, packed: Any) -> Tensor:
    """A mask [N, H] of the rows of a packed sequence as [T, B, H], in the order of the examples."""
    return pad_packed_sequence(packed._replace(data=mask), total_length=T)[0]


def static_masks(module: ZoneoutBase) -> list[list[Tensor]]:
    """The masks [T, H] of each layer and direction, from the words in the module's state."""
    ends = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    state = module.state_dict()

    def mask(rate: str, end: str) -> Tensor:
        return state[f"static_{rate.removeprefix('z_')}{end}"] < getattr(module, rate) * 2**24

    return [[mask(rate, end) for rate in module.RATES] for end in ends]


@kinds
def test_static_masks_are_part_of_the_network(kind: type[ZoneoutBase]) -> None:
    module, x_TBD, state = module_and_inputs(kind, mask="static", steps=T)
    one = flat(module(x_TBD, given(state)))
    assert differences(one, flat(module.eval()(x_TBD, given(state)))) == 0
    masks = static_masks(module)
    output, last = truth(module, x_TBD, state, [[m[:, None] for m in one] for one in masks])
    assert differences(one, [output, *last]) < 1e-12

    other = kind(D, H, **DEEP, **rates(kind, 0.4, 0.6), mask="static", steps=T)
    assert differences(one, flat(other(x_TBD, given(state)))) > 0.01
    other.load_state_dict(module.state_dict())
    assert differences(one, flat(other(x_TBD, given(state)))) == 0
    again = kind.from_torch(module.to_torch(), **rates(kind, 0.4, 0.6), mask="static", steps=T)
    missing, unexpected = again.load_state_dict(module.to_torch().state_dict(), strict=False)
    assert not unexpected
    assert sorted(missing) == sorted(
        name for name in module.state_dict() if name.startswith("static_")
    )
    other.reset_parameters()
    assert not torch.equal(other.static_states_l0, module.static_states_l0)
    assert torch.equal(
        module.half().static_states_l0,
        again.load_state_dict(module.state_dict()) and again.static_states_l0,
    )


@pytest.mark.parametrize("mask", ["bernoulli", "shared", "gaussian", "depth"])
def test_masks_have_the_asked_for_mean_and_sharing(mask: str) -> None:
    rows, units, z = 4000, 50, 0.3
    torch.manual_seed(3)
    states, cells = (
        m for m in keep_masks.draw(mask, [z, z], rows, torch.empty(1, units), None) if m is not None
    )
    for one in (states, cells):
        number = one.float().expand(rows, units)
        draws = rows * (1 if mask == "depth" else units)
        assert abs(float(number.mean()) - z) < 5 * (z * (1 - z) / draws) ** 0.5
        assert abs(float(number.var()) - z * (1 - z)) < 0.02
        across = float(torch.corrcoef(number.T[:2])[0, 1])
        assert across == pytest.approx(1.0) if mask == "depth" else abs(across) < 5 * rows**-0.5
        after = float(torch.corrcoef(torch.stack([number[:-1, 0], number[1:, 0]]))[0, 1])
        assert abs(after) < 5 * rows**-0.5
    assert torch.equal(states, cells) is (mask in ("shared", "depth"))
    assert set(torch.unique(states.float()).tolist()) == {0.0, 1.0} or mask == "gaussian"


def test_z_of_zero_and_one_are_exact() -> None:
    module = ZoneoutLSTM(D, H, z_cells=1.0, z_states=torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0]))
    h_0, c_0, x_TBD = torch.randn(1, B, H), torch.randn(1, B, H), torch.randn(T, B, D)
    output, (_, c_n) = module(x_TBD, (h_0, c_0))
    kept = [0, 1, 4]
    assert torch.equal(output[..., kept], h_0.expand(T, B, H)[..., kept])
    assert torch.equal(c_n, c_0)
    assert not torch.isclose(output[..., 2:4], h_0[..., 2:4]).any()
    output[..., kept].sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_rates_can_be_set_for_layers_and_at_any_time() -> None:
    module = ZoneoutLSTM(D, H, num_layers=2, z_cells=torch.tensor([[1.0], [0.0]]))
    x_TBD = torch.randn(T, B, D)
    c_n = module(x_TBD)[1][1]
    assert torch.equal(c_n[0], torch.zeros(B, H))
    assert c_n[1].all()
    module.z_cells = torch.stack([torch.zeros(H), torch.ones(H)])
    c_n = module(x_TBD)[1][1]
    assert c_n[0].all()
    assert torch.equal(c_n[1], torch.zeros(B, H))
    module.z_cells = given_rates = torch.zeros(H)
    given_rates.fill_(1.0)
    assert not module.z_cells.any(), "a rate is a copy"
    module.z_cells = 0
    assert module.z_cells == 0.0
    assert module.is_plain()
    module.z_states = 0.05
    assert not module.is_plain()


def test_the_seed_or_the_generator_governs_the_masks() -> None:
    module, x_TBD = ZoneoutLSTM(D, H, z_cells=0.5, z_states=0.5), torch.randn(T, B, D)

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return module(x_TBD)[0]

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))
    assert not torch.equal(module(x_TBD)[0], module(x_TBD)[0])
    module.generator = torch.Generator().manual_seed(5)
    first = output(1)
    module.generator.manual_seed(5)
    assert torch.equal(first, output(2))
