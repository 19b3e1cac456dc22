"""The rules for every cell, in every form of its settings (spec section 13)."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zoneout_core.config import parts
from zoneout_core.config.model import CELLS
from zoneout_core.config.setting_texts import fields_without_text, file_summary
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects
from zoneout_core.conformance.made_cells import SYMBOLS, CellForm, Made, cell_forms, form_id, make
from zoneout_core.errors import ConfigError
from zoneout_core.masking.sites import NAMES, Sites

FORMS = pytest.mark.parametrize("form", cell_forms(), ids=form_id)


def has_batch_statistics(made: Made) -> bool:
    """Whether it normalises over the batch."""
    return made.cell.statistics_rate > 0


def keep(made: Made, mask: Tensor) -> Sites:
    """The same mask at every site of the cell that zoneout uses."""
    return sites({name: mask for name in made.cell.SITES if name.startswith("keep_")})


def sites(masks: dict[str, Tensor]) -> Sites:
    """These masks, by site."""
    fields: dict[str, Any] = masks
    return Sites(**fields)


def leaves(made: Made) -> dict[str, Tensor]:
    """Copies of the trained parameters that require a gradient."""
    return {name: made.p[name].clone().requires_grad_() for name in made.trained}


@pytest.mark.parametrize("name", subjects(CELLS))
def test_every_setting_and_the_module_are_documented(name: str) -> None:
    """The file has a docstring, and every setting a string under it, which `sweep explain`
    shows."""
    assert file_summary(parts.cell(name))
    assert fields_without_text(parts.cell(name)) == []


@FORMS
def test_shapes_are_as_announced(form: CellForm) -> None:
    """`parameters`, `starts`, `sizes` and `statistics` give the shapes of the results of `initial`
    and `step`; a cell computes batch statistics in training only."""
    made = make(*form)
    model = made.config.model
    assert {name: tuple(made.p[name].shape) for name in made.trained} == made.cell.parameters(
        model, SYMBOLS
    )
    assert made.cell.starts(model).items() <= made.sizes.items()
    trajectory = made.run()
    assert {name: tuple(value.shape) for name, value in made.named(trajectory).items()} == {
        name: (4, 3, size) for name, size in made.sizes.items()
    }
    kept = made.cell.statistics(model, 4)
    kept_shapes = {name: shape for name, (_, shape) in kept.items()}
    shapes = {name: tuple(value.shape) for name, value in trajectory.statistics.items()}
    assert shapes.items() <= kept_shapes.items()
    assert made.run(training=False).statistics == {}
    assert set(made.cell.schedule(1)) <= set(kept)


@FORMS
def test_masks_that_do_nothing_leave_every_bit(form: CellForm) -> None:
    """A gain of 1 and a mask that keeps nothing change no bit, at every site in SITES."""
    made = make(*form)
    names = made.cell.SITES - {"uniform"}
    neutral: dict[str, Any] = {
        name: made.mask_of_ones(name) * (not name.startswith("keep_")) for name in names
    }
    masked = made.run(Sites(**neutral, gate_form="intent"))
    for name, value in made.named(made.run()).items():
        assert torch.equal(made.named(masked)[name], value), name


@FORMS
def test_zoneout_with_certainty_freezes_the_states_and_learns_nothing(form: CellForm) -> None:
    """Where `keep_states` (or `keep_cells`) is 1, h (or c) does not change, and no gradient
    passes."""
    made = make(*form)
    frozen = {"h", "c"} & made.sizes.keys()
    assert len(frozen) == sum(name.startswith("keep_") for name in made.cell.SITES)
    p = leaves(made)
    states = made.named(made.run(keep(made, torch.ones(1, 1, 1, dtype=torch.bool)), p=p))
    start = dict(zip(made.sizes, made.state, strict=True))
    for name in frozen:
        assert all(torch.equal(value, start[name]) for value in states[name]), name
    loss = torch.stack([states[name].square().sum() for name in sorted(frozen)]).sum()
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        loss, list(p.values()), allow_unused=True
    )
    assert all(gradient is None or not gradient.any() for gradient in gradients)


@FORMS
def test_a_shared_mask_keeps_cell_and_state_together(form: CellForm) -> None:
    """Units whose mask is 1 keep their old h and c; all others take new values."""
    made = make(*form)
    mask = made.mask_of_ones("keep_states") * (torch.arange(made.cell.units(made.config.model)) % 2)
    states = made.named(made.run(keep(made, mask)))
    start = dict(zip(made.sizes, made.state, strict=True))
    for name in {"h", "c"} & made.sizes.keys():
        after = states[name]
        before = torch.cat([start[name][None], after[:-1]])
        assert torch.equal(after[..., 1::2], before[..., 1::2]), name
        assert not torch.equal(after[..., ::2], before[..., ::2]), name


@FORMS
def test_masks_for_each_gate_may_all_be_the_same(form: CellForm) -> None:
    """Equal masks for each gate act like one mask for all gates."""
    made = make(*form)
    if form[0] == "hm_lstm":
        return  # refused: its matrices hold a boundary beside the gates
    tied = {
        name: mask
        for name, mask in made.masks().present().items()
        if name in ("inputs", "recurrent")
    }
    untied = {
        name: mask.unsqueeze(-2).repeat(1, 1, made.cell.GATES, 1) for name, mask in tied.items()
    }
    for x in (made.x, made.dense)[: 1 if made.cell.SYMBOLS else 2]:
        results = [made.run(sites(masks), x=x).states for masks in (tied, untied)]
        for tied_state, untied_state in zip(*results, strict=True):
            torch.testing.assert_close(tied_state, untied_state, rtol=0, atol=1e-13)


@FORMS
@pytest.mark.parametrize("training", [True, False])
def test_nothing_random_happens_inside(form: CellForm, training: bool) -> None:
    """A cell draws no random numbers: masks are arguments."""
    made = make(*form)
    torch.manual_seed(1)
    first = made.run(made.masks(), training=training)
    torch.manual_seed(2)
    generator_state = torch.get_rng_state()
    second = made.run(made.masks(), training=training)
    assert torch.equal(torch.get_rng_state(), generator_state)
    for first_state, second_state in zip(first.states, second.states, strict=True):
        assert torch.equal(first_state, second_state)


@FORMS
def test_every_site_has_an_effect(form: CellForm) -> None:
    """A mask at each site in SITES changes the states, and SITES has only names from
    zoneout_core.masking.sites."""
    made = make(*form)
    neutral = Sites()
    if "uniform" in made.cell.SITES:
        neutral = Sites(uniform=made.mask_of_ones("uniform"))
    plain = made.run(neutral)
    for name in made.cell.SITES:
        mask: dict[str, Any] = {name: 0.5 * made.mask_of_ones(name)}
        halved = Sites(**mask, gate_form="intent" if name == "gate" else "")
        assert not torch.equal(made.run(halved).states[0], plain.states[0]), name
    assert set(NAMES) >= made.cell.SITES


@FORMS
def test_gradients_are_derivatives(form: CellForm) -> None:
    """Autograd's gradients are the derivatives of the states with respect to every trained
    parameter, the initial states and dense inputs, with masks at every site. A cell whose
    definition says otherwise has EXACT = False."""
    made = make(*form, steps=3)
    if not made.cell.EXACT:
        return  # its gradient needs a test of its own
    names = list(made.trained)

    def loss(*values: Tensor) -> Tensor:
        p = dict(zip(names, values, strict=False))
        x, *state = values[len(names) :]
        run = made.run(dense_masks(made), p=p, x=x, state=tuple(state))
        return torch.stack([value.sin().sum() for value in run.states]).sum()

    inputs = [
        value.clone().requires_grad_()
        for value in (*leaves(made).values(), made.dense, *made.state)
    ]
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)


def dense_masks(made: Made) -> Sites:
    """`Made.masks`, with a mask on the inputs that is as wide as dense inputs."""
    masks = made.masks()
    inputs = masks.inputs.expand(*made.dense.shape) if masks.inputs is not None else None
    return Sites(**masks.present() | {"inputs": inputs}, gate_form=masks.gate_form)


@FORMS
def test_symbols_are_one_hot_inputs(form: CellForm) -> None:
    """Symbols give the same states as one-hot inputs. A cell that reads symbols only has SYMBOLS =
    True, and refuses dense inputs."""
    made = make(*form)
    one_hot = torch.nn.functional.one_hot(made.x, SYMBOLS).double()
    if made.cell.SYMBOLS:
        with pytest.raises(ConfigError):
            made.run(x=one_hot)
        return
    from_symbols = made.run(made.masks()).states
    from_one_hot = made.run(made.masks(), x=one_hot).states
    for symbol_state, one_hot_state in zip(from_symbols, from_one_hot, strict=True):
        torch.testing.assert_close(symbol_state, one_hot_state, rtol=0, atol=1e-13)


@FORMS
@pytest.mark.parametrize("training", [True, False])
def test_a_sequence_may_be_run_in_pieces(form: CellForm, training: bool) -> None:
    """The states hold all that a cell remembers: two pieces of a sequence, run one after the other,
    give the states of the sequence."""
    made = make(*form, steps=6)
    masks = made.masks()
    sequence = made.run(masks, training=training)
    first = made.run(masks.span(0, 2), training=training, x=made.x[:2])
    rest = made.run(masks.span(2, 6), training=training, x=made.x[2:], state=first.last)
    for state, *pieces in zip(sequence.states, first.states, rest.states, strict=True):
        torch.testing.assert_close(torch.cat(pieces), state, rtol=0, atol=1e-12)


@FORMS
def test_examples_do_not_see_each_other(form: CellForm) -> None:
    """No example of a batch depends on another, except through batch statistics in training."""
    made = make(*form)
    training = not has_batch_statistics(made)
    together = made.run(training=training)
    for b in range(3):
        state = tuple(value[b : b + 1] for value in made.state)
        alone = made.run(training=training, x=made.x[:, b : b + 1], state=state)
        for alone_state, batch_state in zip(alone.states, together.states, strict=True):
            torch.testing.assert_close(alone_state[:, 0], batch_state[:, b], rtol=0, atol=1e-12)


@FORMS
@pytest.mark.parametrize(("steps", "batch", "hidden"), [(1, 1, 1), (1, 4, 7), (5, 1, 3)])
def test_odd_sizes(form: CellForm, steps: int, batch: int, hidden: int) -> None:
    """Sizes of 1 work, and give finite states and gradients."""
    made = make(*form, steps=steps, batch=batch, hidden=hidden)
    if has_batch_statistics(made) and batch == 1:
        with pytest.raises(ConfigError):
            TrialConfig().with_values({"cell": form[0], "batch_size": 1})
        assert made.run(training=False).states[0].isfinite().all()
        return
    p = leaves(made)
    trajectory = made.run(made.masks(), p=p)
    torch.stack([value.sum() for value in trajectory.states]).sum().backward()
    assert all(value.isfinite().all() for value in trajectory.states)
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in p.values())


@FORMS
def test_nothing_is_asked_of_the_host(form: CellForm) -> None:
    """A cell computes on the device of its arguments: it reads no number from them, and creates no
    tensor elsewhere."""
    made = make(*form)
    p = {name: value.to("meta") for name, value in made.p.items()}
    masks = made.masks().map(lambda mask: mask.to("meta"))
    state = tuple(value.to("meta") for value in made.state)
    assert made.run(masks, p=p, x=made.x.to("meta"), state=state).states[0].device.type == "meta"


@FORMS
def test_one_initial_state_serves_the_batch(form: CellForm) -> None:
    """An initial state [1, U] is that of every example."""
    made = make(*form)
    shared = tuple(value[:1] for value in made.state)
    from_shared = made.run(state=shared)
    from_expanded = made.run(state=tuple(value.expand(3, -1) for value in shared))
    pairs = zip(from_shared.states, from_expanded.states, strict=True)
    assert all(torch.equal(state, expanded) for state, expanded in pairs)
