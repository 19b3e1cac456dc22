"""The lane-native recurrence: equal to the reference, and no bit of a lane depends on the lanes beside it."""

from dataclasses import fields

import pytest
import torch

from tests.zoneout_core.lanes import Lanes, random_lanes, recurrence, run, torch_choice
from zoneout_core.cells.lstm import LSTM
from zoneout_core.kernels import Workspace, choose, product

NAN = float("nan")
SIZES = [
    # steps, batch, hidden, inputs
    (5, 3, 37, 11),
    (1, 1, 37, 7),
    (2, 1, 1, 3),
    (6, 32, 128, 50),
    (3, 7, 250, 27),
]


def assert_equal_to_reference(lanes: Lanes, precision: str, tolerance: float) -> None:
    """Outputs and every gradient, from a workspace full of NaN."""
    workspace = Workspace()
    run(lanes, torch_choice(precision), workspace)
    workspace.fill_(NAN)
    ours = run(lanes, torch_choice(precision), workspace)
    expected = run(lanes, choose(LSTM(), precision, "cpu", implementation="loop"))
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name].dtype == value.dtype
        scale = max(1.0, float(value.abs().max()))
        torch.testing.assert_close(
            ours[name], value, rtol=0, atol=tolerance * scale, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("dense", [False, True], ids=["tokens", "dense"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-13), ("float32", 1e-5), ("bfloat16", 3e-2)])
def test_equal_to_the_reference(size: tuple[int, ...], precision: str, tolerance: float, dense: bool) -> None:
    dtype = torch.float64 if precision == "float64" else torch.float32
    assert_equal_to_reference(random_lanes(3, *size, dtype=dtype, dense=dense), precision, tolerance)


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 1, 1, 37), (3, 7, 4, 1), (3, 7, 4, 37)], ids=str)
def test_equal_to_the_reference_with_real_masks(shape: tuple[int, ...]) -> None:
    """Expectations, rates by unit, masks shared by the units, and Gaussian masks (spec sections 9.1, 9.2, 9.13)."""
    lanes = random_lanes()
    masks = [torch.randn(shape, dtype=torch.float64) for _ in range(2)]
    assert_equal_to_reference(lanes.with_(mask_cells=masks[0], mask_states=masks[1]), "float64", 1e-12)


def test_equal_to_the_reference_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "has_onednn", lambda: False)
    assert torch_choice("float32").product.name == "mm"
    assert_equal_to_reference(random_lanes(dtype=torch.float32), "float32", 1e-5)
    assert_equal_to_reference(random_lanes(dtype=torch.float32), "bfloat16", 3e-2)


def assert_same_bits(packed: dict[str, torch.Tensor], solo: list[dict[str, torch.Tensor]], order: list[int]) -> None:
    for name, value in packed.items():
        for slot, lane in enumerate(order):
            assert torch.equal(value[slot], solo[lane][name][0]), f"{name} of lane {lane} in slot {slot} of {order}"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_lane_has_the_same_bits_in_every_pack(size: tuple[int, ...], threads: int, precision: str) -> None:
    """Packs of 1 to 5 in several orders, one workspace for all of them."""
    torch.set_num_threads(threads)
    dtype = torch.float64 if precision == "float64" else torch.float32
    lanes = random_lanes(5, *size, dtype=dtype)
    choice = torch_choice(precision)
    solo = [run(lanes.pick([lane]), choice) for lane in range(5)]
    workspace = Workspace()
    for order in ([3], [0, 1], [2, 1, 0], [1, 3, 0, 2], [4, 3, 2, 1, 0], [2, 4], [0]):
        assert_same_bits(run(lanes.pick(order), choice, workspace), solo, order)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_lane_has_the_same_bits_beside_a_diverged_one(threads: int) -> None:
    torch.set_num_threads(threads)
    lanes = random_lanes(3, dtype=torch.float32)
    choice = torch_choice("float32")
    solo = [run(lanes.pick([lane]), choice) for lane in range(3)]
    lanes.u[1], lanes.c0[1], lanes.dh[1] = NAN, float("inf"), NAN
    packed = run(lanes, choice)
    assert packed["h"][1].isnan().any()
    assert_same_bits({name: value[[0, 2]] for name, value in packed.items()}, solo, [0, 2])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_lane_has_the_same_bits_at_every_address(precision: str) -> None:
    """Weights as rows of a wider buffer, whose lanes start anywhere."""
    lanes = random_lanes(4, dtype=torch.float32, dense=True)
    choice = torch_choice(precision)

    def shifted(x: torch.Tensor) -> torch.Tensor:
        row = x[0].numel()
        buffer = torch.full((len(x), row + 5), NAN)
        return buffer[:, 3 : 3 + row].copy_(x.flatten(1)).unflatten(1, x.shape[1:])

    moved = lanes.with_(**{name: shifted(getattr(lanes, name)) for name in ("x", "w", "u", "b", "dh")})
    assert moved.u[1].data_ptr() % 64 != 0
    solo = [run(lanes.pick([lane]), choice) for lane in range(4)]
    assert_same_bits(run(moved, choice), solo, [0, 1, 2, 3])


def test_evaluation_has_the_bits_of_training_and_keeps_nothing_per_step() -> None:
    lanes = random_lanes(steps=40, dtype=torch.float32)
    choice, evaluating, training = torch_choice("float32"), Workspace(), Workspace()
    trained = run(lanes, choice, training)
    for leaf in lanes.parameters.values():
        leaf.requires_grad_()
    with torch.no_grad():
        evaluated = recurrence(lanes, choice, evaluating)
    for name, value in zip(("h", "h_last", "c_last"), evaluated, strict=True):
        assert torch.equal(value, trained[name])
        assert not value.requires_grad
    of_h = lanes.mask_cells[:, 0].numel() * 4 * 41
    assert training.nbytes > 7 * of_h  # four gates, tanh, c and h of every step
    assert evaluating.nbytes < 3 * of_h  # h of every step; one step of the others, and the weights


def test_a_stream_has_the_same_bits_in_pieces() -> None:
    """The final states are all that the next piece needs."""
    lanes = random_lanes(steps=9, dtype=torch.float32)
    choice, workspace = torch_choice("float32"), Workspace()
    whole = run(lanes, choice)
    h, c, pieces = lanes.h0, lanes.c0, []
    for piece in (slice(0, 4), slice(4, 5), slice(5, 9)):
        masks = {"mask_cells": lanes.mask_cells[:, piece], "mask_states": lanes.mask_states[:, piece]}
        h_KTBH, h, c = recurrence(lanes.with_(x=lanes.x[:, piece], h0=h, c0=c, **masks), choice, workspace)
        pieces.append(h_KTBH.clone())
    assert torch.equal(torch.cat(pieces, dim=1), whole["h"])
    assert torch.equal(c, whole["c_last"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_no_zoneout_is_the_same_however_it_is_said(precision: str) -> None:
    lanes = random_lanes(dtype=torch.float64 if precision == "float64" else torch.float32)
    results = []
    for zeros in (torch.zeros(3, 7, 4, 37, dtype=torch.bool), torch.zeros(3, 1, 1, 1), torch.zeros(3, 7, 4, 37)):
        zeros = zeros if zeros.dtype == torch.bool else zeros.to(lanes.w.dtype)
        results.append(run(lanes.with_(mask_cells=zeros, mask_states=zeros), torch_choice(precision)))
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(other[name], value), name


def test_full_zoneout_freezes_the_state() -> None:
    lanes = random_lanes(dtype=torch.float32)
    ones = torch.ones(3, 7, 4, 37, dtype=torch.bool)
    result = run(lanes.with_(mask_cells=ones, mask_states=ones), torch_choice("float32"))
    assert torch.equal(result["h"], lanes.h0.unsqueeze(1).expand(3, 7, 4, 37))
    assert torch.equal(result["c_last"], lanes.c0.expand(3, 4, 37))
    for name in ("dw", "du", "db"):
        assert torch.equal(result[name], torch.zeros_like(result[name])), name
    torch.testing.assert_close(result["dh0"], lanes.dh.sum(1) + lanes.dh_last)
    torch.testing.assert_close(result["dc0"], lanes.dc_last.sum(1, keepdim=True))


def test_a_shared_mask_is_twice_the_same_mask() -> None:
    lanes = random_lanes(dtype=torch.float32)
    shared = run(lanes.with_(mask_states=lanes.mask_cells), torch_choice("float32"))
    copied = run(lanes.with_(mask_states=lanes.mask_cells.clone()), torch_choice("float32"))
    assert all(torch.equal(shared[name], copied[name]) for name in shared)


def test_no_random_numbers_are_drawn() -> None:
    lanes = random_lanes(dtype=torch.float32)
    before = torch.get_rng_state()
    run(lanes, torch_choice("float32"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("implementation", ["loop", "torch"])
def test_tokens_may_be_bytes(implementation: str) -> None:
    lanes = random_lanes()
    choice = choose(LSTM(), "float64", "cpu", implementation=implementation)
    assert torch.equal(run(lanes.with_(x=lanes.x.byte()), choice)["dw"], run(lanes, choice)["dw"])


def test_backward_after_another_use_of_the_workspace_is_refused() -> None:
    lanes = random_lanes()
    workspace = Workspace()
    lanes.u.requires_grad_()
    first, _, _ = recurrence(lanes, torch_choice("float64"), workspace)
    second, _, _ = recurrence(lanes, torch_choice("float64"), workspace)
    message = (
        "Backward must run once, before its workspace is used again, but the workspace was used since. "
        "Give each forward pass that is still to be differentiated a Workspace of its own."
    )
    with pytest.raises(RuntimeError) as caught:
        first.sum().backward()
    assert str(caught.value) == message
    second.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError) as caught:
        second.sum().backward()
    assert str(caught.value) == message


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_depends_on_the_cpu(precision: str) -> None:
    """On a device without numbers, every operation must be one that any device has, and none may wait for a value."""
    lanes = random_lanes(dtype=torch.float32)
    elsewhere = Lanes(*(getattr(lanes, f.name).to("meta") for f in fields(lanes)))
    result = run(elsewhere, choose(LSTM(), precision, "meta"))
    expected = run(lanes, torch_choice(precision))
    assert {name: value.shape for name, value in result.items()} == {n: v.shape for n, v in expected.items()}
    assert {value.device.type for value in result.values()} == {"meta"}


def test_lanes_of_a_workspace_start_at_64_bytes_and_stay_where_they_are() -> None:
    workspace = Workspace()

    def take(lanes: int) -> torch.Tensor:
        return workspace.take("a", lanes, (3, 37), torch.float32, torch.device("cpu"))

    many = take(5)
    assert [lane.data_ptr() % 64 for lane in many] == [0] * 5
    assert [lane.data_ptr() for lane in take(2)] == [lane.data_ptr() for lane in many[:2]]
    assert all(lane.is_contiguous() for lane in many)


def test_a_workspace_copies_only_what_is_not_aligned() -> None:
    workspace, buffer = Workspace(), torch.arange(200.0)
    aligned = buffer[:160].view(5, 32)
    shifted = buffer[1:161].view(5, 32)
    assert workspace.aligned("a", aligned, torch.float32) is aligned
    for x in (shifted, buffer[:185].view(5, 37), aligned.view(5, 4, 8).mT):
        copied = workspace.aligned("a", x, torch.float32)
        assert torch.equal(copied, x)
        assert all(lane.data_ptr() % 64 == 0 and lane.is_contiguous() for lane in copied)
