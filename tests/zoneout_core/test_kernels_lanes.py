"""The lane-native recurrence: equal to the loop, and no bit of a lane depends on the lanes beside
it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.zoneout_core.lanes import (
    ZONEOUT,
    Lanes,
    loop_choice,
    random_lanes,
    recurrence,
    run,
    torch_choice,
)
from zoneout_core.cells import Cell, name_of
from zoneout_core.cells.lstm import LSTM
from zoneout_core.cells.rnn import RNN
from zoneout_core.config import registry
from zoneout_core.kernels import Workspace, choose, product, torch_lanes
from zoneout_core.masking import stacking

NAN = float("nan")
SIZES = [
    # steps, batch, hidden, inputs
    (5, 3, 37, 11),
    (1, 1, 37, 7),
    (2, 1, 1, 3),
    (6, 32, 128, 50),
    (3, 7, 250, 27),
]
TOLERANCES = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 6e-2}
KINDS = ["tokens", "dense"]


def cells() -> list[Cell]:
    """Every cell that has a kernel, with each setting that the kernel knows."""
    found = []
    for name, kernel in torch_lanes.KERNELS.items():
        cell: Cell = registry.load("zoneout_core.cells", name, "cell").PART()
        changed = [
            {setting: value} for setting, values in kernel.SETTINGS.items() for value in values
        ]
        found += [replace(cell, **values) for values in changed] if changed else [cell]
    return found


CELLS = pytest.mark.parametrize("cell", cells(), ids=str)


def sites_of(cell: Cell) -> list[str]:
    """Every site that the cell's kernel knows."""
    return sorted(place.split()[0] for place in torch_lanes.KERNELS[name_of(type(cell))].SITES)


def dtype_of(precision: str) -> torch.dtype:
    return torch.float64 if precision == "float64" else torch.float32


def assert_equal_to_the_loop(lanes: Lanes, precision: str, tolerance: float) -> None:
    """Outputs and every gradient, from a workspace full of NaN."""
    workspace = Workspace()
    run(lanes, torch_choice(precision, lanes), workspace)
    workspace.fill_(NAN)
    ours = run(lanes, torch_choice(precision, lanes), workspace)
    expected = run(lanes, loop_choice(precision))
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name].dtype == value.dtype
        scale = float(
            value.abs().max()
        )  # its own: what is small has to be as precise as what is large
        torch.testing.assert_close(
            ours[name],
            value,
            rtol=0,
            atol=tolerance * scale,
            msg=lambda m, name=name: f"{name}: {m}",
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("precision", TOLERANCES)
@CELLS
def test_equal_to_the_loop(cell: Cell, size: tuple[int, ...], precision: str, kind: str) -> None:
    """With zoneout; the rectifier's kink moves where numbers are rounded as coarsely as in
    bfloat16."""
    sites = [site for site in ZONEOUT if site in sites_of(cell)]
    lanes = random_lanes(
        3, *size, dtype=dtype_of(precision), cell=cell, sites=sites, dense=kind == "dense"
    )
    if cell != RNN(activation="relu") or precision != "bfloat16":
        assert_equal_to_the_loop(lanes, precision, TOLERANCES[precision])


@pytest.mark.parametrize("trajectories", [False, True], ids=["outputs", "trajectories"])
@pytest.mark.parametrize("kind", KINDS)
@CELLS
def test_equal_to_the_loop_with_every_mask(cell: Cell, kind: str, trajectories: bool) -> None:
    """Each by itself, all of them, none of them."""
    sites = sites_of(cell)
    for together in [[], sites, *([site] for site in sites)]:
        lanes = random_lanes(
            2, cell=cell, sites=together, dense=kind == "dense", trajectories=trajectories
        )
        assert_equal_to_the_loop(lanes, "float64", 1e-12)
        single = random_lanes(
            2,
            cell=cell,
            sites=together,
            dense=kind == "dense",
            trajectories=trajectories,
            dtype=torch.float32,
        )
        assert_equal_to_the_loop(single, "float32", 2e-5)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 37), (7, 1, 37), (7, 4, 1), (1, 4, 37), (7, 4, 37)], ids=str
)
@CELLS
def test_equal_to_the_loop_with_real_masks(cell: Cell, shape: tuple[int, ...]) -> None:
    """Expectations, rates by unit, static masks, draws shared by units or steps, Gaussian masks
    (spec section 9)."""
    lanes = random_lanes(cell=cell, sites=sites_of(cell))
    real = {
        name: torch.randn(3, *shape[:2], 1 if name == "inputs" else shape[2]).double()
        for name in lanes.masks
    }
    assert_equal_to_the_loop(replace(lanes, masks=real), "float64", 1e-11)


PRODUCTS = pytest.mark.parametrize("name", product.possible("float32"))


@PRODUCTS
@CELLS
def test_equal_to_the_loop_with_every_product(
    cell: Cell, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever is the fastest on a machine."""
    monkeypatch.setenv("ZONEOUT_PRODUCT", name)
    assert torch_choice("float32").product.name == name
    for size, dense in zip(SIZES, (False, True, True, False, True), strict=True):
        lanes = random_lanes(
            2, *size, dtype=torch.float32, cell=cell, sites=sites_of(cell), dense=dense
        )
        assert_equal_to_the_loop(lanes, "float32", 2e-5)


@pytest.mark.parametrize("name", product.possible("bfloat16"))
def test_equal_to_the_loop_with_every_product_in_bfloat16(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_PRODUCT", name)
    assert_equal_to_the_loop(random_lanes(dtype=torch.float32), "bfloat16", 3e-2)


@PRODUCTS
@pytest.mark.parametrize("threads", [1, 2])
@CELLS
def test_a_lane_has_the_same_bits_in_every_pack_with_every_product(
    cell: Cell, threads: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_PRODUCT", name)
    torch.set_num_threads(threads)
    for size in ((2, 250, 37, 11), (3, 32, 128, 50), (2, 7, 250, 27)):
        assert_same_bits_in_every_pack(cell, size, "float32", dense=threads == 2)


@CELLS
def test_equal_to_the_loop_where_only_the_last_state_counts(cell: Cell) -> None:
    """A classifier's gradient: None reaches the outputs, and T and B are such that dense inputs
    come in chunks."""
    lanes = random_lanes(2, 50, 100, 5, 1, cell=cell, sites=["keep_states"], dense=True)

    def gradients(which: str) -> list[Tensor]:
        leaves = {name: one.detach().requires_grad_() for name, one in lanes.p.items()}
        choice = choose(cell, "float64", "cpu", lanes.site_keys, which)
        last = recurrence(replace(lanes, p=leaves), choice).last[0]
        return list(torch.autograd.grad(last, list(leaves.values()), lanes.dlast[0]))

    for ours, expected in zip(gradients("torch"), gradients("loop"), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-11)


def assert_same_bits(
    packed: dict[str, Tensor], solo: Sequence[dict[str, Tensor]], order: Sequence[int]
) -> None:
    for name, value in packed.items():
        for slot, lane in enumerate(order):
            assert torch.equal(value[slot], solo[lane][name][0]), (
                f"{name} of lane {lane} in slot {slot} of {order}"
            )


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@CELLS
def test_a_lane_has_the_same_bits_in_every_pack(
    cell: Cell, size: tuple[int, ...], precision: str
) -> None:
    """Packs of 1 to 5 in several orders, one workspace for all of them."""
    assert_same_bits_in_every_pack(cell, size, precision)


@pytest.mark.parametrize("size", [(2, 250, 37, 11), (2, 32, 128, 50)], ids=str)
@CELLS
def test_a_lane_has_the_same_bits_in_every_pack_with_two_threads(
    cell: Cell, size: tuple[int, ...]
) -> None:
    torch.set_num_threads(2)
    assert_same_bits_in_every_pack(cell, size, "float32", dense=True)


def assert_same_bits_in_every_pack(
    cell: Cell, size: tuple[int, ...], precision: str, *, dense: bool = False
) -> None:
    sites = [site for site in ZONEOUT if site in sites_of(cell)]
    lanes = random_lanes(5, *size, dtype=dtype_of(precision), cell=cell, sites=sites, dense=dense)
    choice = torch_choice(precision, lanes)
    solo = [run(lanes.pick([lane]), choice) for lane in range(5)]
    workspace = Workspace()
    for order in ([3], [2, 1, 0], [1, 3, 0, 2], [4, 3, 2, 1, 0], [2, 4], [0]):
        assert_same_bits(run(lanes.pick(order), choice, workspace), solo, order)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", TOLERANCES)
@CELLS
def test_a_lane_has_the_same_bits_beside_every_other_regularizer(
    cell: Cell, precision: str, kind: str
) -> None:
    """Each lane has masks at a place of its own, drawn, scaled or expected; lanes come and go, and
    so do the sites."""
    sites = sites_of(cell)
    count = len(sites) + 2
    lanes = random_lanes(
        count,
        dtype=dtype_of(precision),
        cell=cell,
        sites=sites,
        dense=kind == "dense",
        trajectories=True,
    )
    choice = torch_choice(precision, lanes)

    def own(k: int) -> dict[str, Tensor]:
        """Lane 0 has no mask, the last one all of them; odd lanes have real numbers."""
        names = [] if k == 0 else sites if k == count - 1 else [sites[k - 1]]
        one = {name: lanes.masks[name][k] for name in names}
        return {name: mask * 1.25 if k % 2 else mask for name, mask in one.items()}

    def pick(order: Sequence[int]) -> Lanes:
        stacked = stacking.stack([replace(lanes, masks=own(k)).sites for k in order])
        picked = replace(lanes.pick(order), masks=stacked.present())
        for slot, k in enumerate(order):
            if "gate" not in own(
                k
            ):  # nothing asks for the gradient of a gate that the lane alone would not carry
                for gradient in (
                    *picked.dlast[len(cell.STATES) :],
                    *picked.dmore[len(cell.STATES) - 1 :],
                ):
                    gradient[slot] = 0.0
        return picked if "gate" in picked.masks else without_gate(picked)

    solo = [run(pick([k]), choice) for k in range(count)]
    workspace = Workspace()
    for order in (
        list(range(count)),
        [1, 0],
        [0, 2],
        [count - 1, 0, 1],
        list(reversed(range(count - 1))),
    ):
        packed = run(pick(order), choice, workspace)
        for slot, k in enumerate(order):
            for name, value in solo[k].items():
                assert torch.equal(packed[name][slot], value[0]), (
                    f"{name} of lane {k} in slot {slot} of {order}"
                )


def without_gate(lanes: Lanes) -> Lanes:
    """Nothing follows the output gate where no lane has a mask there."""
    states = len(lanes.state)
    return replace(lanes, dlast=lanes.dlast[:states], dmore=lanes.dmore[: states - 1])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_lane_has_the_same_bits_beside_a_diverged_one(threads: int) -> None:
    torch.set_num_threads(threads)
    lanes = random_lanes(3, dtype=torch.float32)
    choice = torch_choice("float32")
    solo = [run(lanes.pick([lane]), choice) for lane in range(3)]
    lanes.p["u_HG"][1], lanes.state[1][1], lanes.dh[1] = NAN, float("inf"), NAN
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

    moved = lanes.each(lambda one: shifted(one) if one.is_floating_point() else one)
    assert moved.p["u_HG"][1].data_ptr() % 64 != 0
    solo = [run(lanes.pick([lane]), choice) for lane in range(4)]
    assert_same_bits(run(moved, choice), solo, [0, 1, 2, 3])


@pytest.mark.parametrize("dense", [False, True], ids=KINDS)
def test_evaluation_has_the_bits_of_training_and_keeps_nothing_per_step(dense: bool) -> None:
    lanes = random_lanes(steps=40, dtype=torch.float32, dense=dense)
    choice, evaluating, training = torch_choice("float32"), Workspace(), Workspace()
    trained = run(lanes, choice, training)
    for leaf in lanes.p.values():
        leaf.requires_grad_()
    with torch.no_grad():
        evaluated = recurrence(lanes, choice, evaluating)
    for name, value in zip(
        ("h", "last0", "last1"), (evaluated.outputs_KTBU, *evaluated.last), strict=True
    ):
        assert torch.equal(value, trained[name])
        assert not value.requires_grad
    of_h = lanes.masks["keep_cells"][:, 0].numel() * 4 * 41
    assert training.nbytes > 7 * of_h  # four gates, tanh, c and h of every step
    steps = 40 if dense else 1  # dense inputs enter for some 2000 rows at a time
    assert evaluating.nbytes < (2 + 4 * steps / 41 + 1) * of_h  # h of every step, and the weights


def test_a_stream_has_the_same_bits_in_pieces() -> None:
    """The final states are all that the next piece needs."""
    lanes = random_lanes(steps=9, dtype=torch.float32)
    choice, workspace = torch_choice("float32"), Workspace()
    whole = run(lanes, choice)
    state, pieces = lanes.state, []
    for piece in (slice(0, 4), slice(4, 5), slice(5, 9)):
        cut = {name: mask[:, piece] for name, mask in lanes.masks.items()}
        out = recurrence(
            replace(lanes, x=lanes.x[:, piece], state=state, masks=cut), choice, workspace
        )
        state = out.last
        pieces.append(out.outputs_KTBU.clone())
    assert torch.equal(torch.cat(pieces, dim=1), whole["h"])
    assert torch.equal(state[1], whole["last1"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_no_zoneout_is_the_same_however_it_is_said(precision: str) -> None:
    lanes = random_lanes(dtype=torch.float64 if precision == "float64" else torch.float32)
    results = []
    for zeros in (
        torch.zeros(3, 7, 4, 37, dtype=torch.bool),
        torch.zeros(3, 1, 1, 1),
        torch.zeros(3, 7, 4, 37),
    ):
        results.append(
            run(replace(lanes, masks=dict.fromkeys(ZONEOUT, zeros)), torch_choice(precision))
        )
    results.append(run(replace(lanes, masks={}), torch_choice(precision)))
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(other[name], value), name


def test_full_zoneout_freezes_the_state() -> None:
    lanes = random_lanes(dtype=torch.float32)
    ones = torch.ones(3, 7, 4, 37, dtype=torch.bool)
    result = run(replace(lanes, masks=dict.fromkeys(ZONEOUT, ones)), torch_choice("float32"))
    assert torch.equal(result["h"], lanes.state[0].unsqueeze(1).expand(3, 7, 4, 37))
    assert torch.equal(result["last1"], lanes.state[1].expand(3, 4, 37))
    for name in ("dw_DG", "du_HG", "db_G"):
        assert torch.equal(result[name], torch.zeros_like(result[name])), name
    torch.testing.assert_close(result["dh0"], lanes.dh.sum(1) + lanes.dlast[0])
    torch.testing.assert_close(result["dc0"], lanes.dlast[1].sum(1, keepdim=True))


def test_a_shared_mask_is_twice_the_same_mask() -> None:
    lanes = random_lanes(dtype=torch.float32)
    mask = lanes.masks["keep_cells"]
    shared = run(lanes.with_masks(keep_states=mask), torch_choice("float32"))
    copied = run(lanes.with_masks(keep_states=mask.clone()), torch_choice("float32"))
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
    assert torch.equal(
        run(replace(lanes, x=lanes.x.byte()), choice)["dw_DG"], run(lanes, choice)["dw_DG"]
    )


def test_backward_after_another_use_of_the_workspace_is_refused() -> None:
    lanes = random_lanes()
    workspace = Workspace()
    lanes.p["u_HG"].requires_grad_()
    first = recurrence(lanes, torch_choice("float64"), workspace).outputs_KTBU
    second = recurrence(lanes, torch_choice("float64"), workspace).outputs_KTBU
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@CELLS
def test_nothing_depends_on_the_cpu(cell: Cell, precision: str, kind: str) -> None:
    """On a device without numbers, every operation must be one that any device has, and none may
    wait for a value."""
    lanes = random_lanes(
        dtype=torch.float32,
        cell=cell,
        sites=sites_of(cell),
        dense=kind == "dense",
        trajectories=True,
    )
    result = run(
        lanes.each(lambda one: one.to("meta")),
        choose(cell, precision, "meta", lanes.site_keys, "torch"),
    )
    expected = run(lanes, torch_choice(precision, lanes))
    assert {name: value.shape for name, value in result.items()} == {
        n: v.shape for n, v in expected.items()
    }
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
