"""The encoder-decoder: its loss and gradient, greedy answers, curriculum, restarts, lanes (spec
section 6)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.masking import drawing, streams
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.records import EpochRecord
from zoneout_core.tasks.addition import PROGRAM, Problems
from zoneout_core.training.lane import Lane
from zoneout_core.training.pack import Pack, PackEvent
from zoneout_core.training.workloads import addition
from zoneout_core.training.workloads.addition import Addition, difficulty

TASK = tasks.get("addition")
DATA: Problems = tasks.load_data("addition", "addition", Path("not there"))
SMALL = {"hidden_size": 7, "batch_size": 3, "epochs": 3, "seed": 4}
ZONEOUT = {"z_cells": 0.5, "z_states": 0.3}
Masks = dict[tuple[int, int, str], Tensor]
"""By layer (those of the decoder come last), step and site."""


def config(**values: object) -> TrialConfig:
    return TASK.config(**(SMALL | values))


def pack_of(*configs: TrialConfig, data: Problems = DATA) -> Pack:
    pack = Pack(configs[0], data, capacity=len(configs))
    for trial, one in enumerate(configs):
        pack.admit(trial, one)
    return pack


def run(pack: Pack, steps: int) -> list[PackEvent]:
    return [event for _ in range(steps) for event in pack.update()]


def workload(pack: Pack) -> Addition:
    assert isinstance(pack.workload, Addition)
    return pack.workload


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 updates an epoch, 4 batches to validate on, 2 epochs of patience."""
    monkeypatch.setattr(addition, "UPDATES", 3)
    monkeypatch.setattr(addition, "VALID_BATCHES", 4)
    monkeypatch.setattr(addition, "PATIENT_EPOCHS", 2)


def trained(pack: Pack) -> dict[str, Tensor]:
    """Parameters of the only lane, as leaves."""
    views = pack.layout.views(pack.state(0).weights[None])
    return {name: view_1[0].clone().requires_grad_() for name, view_1 in views.items()}


def read(
    p: dict[str, Tensor],
    symbol_B: Tensor,
    states: list[list[Tensor]],
    t: int,
    coder: str,
    keep: Masks,
) -> Tensor:
    """One step of both layers of `coder`; h~ of the upper one. states: h and c of each layer,
    replaced."""
    x = torch.nn.functional.one_hot(symbol_B, len(DATA.alphabet)).double()
    for layer in (0, 1):
        h, c = states[layer]
        w, u, b = (
            p[f"{coder}.{'layer1.' if layer else ''}{name}"] for name in ("w_DG", "u_HG", "b_G")
        )
        i, f, o, g = (x @ w + h @ u + b).chunk(4, dim=1)
        c_new = f.sigmoid() * c + i.sigmoid() * g.tanh()
        x = o.sigmoid() * c_new.tanh()
        d_c, d_h = (
            keep[layer + 2 * (coder == "decoder"), t, site]
            for site in ("keep_cells", "keep_states")
        )
        states[layer] = [d_h * h + (1 - d_h) * x, d_c * c + (1 - d_c) * c_new]
    return x


def logits_of(
    p: dict[str, Tensor], inputs_TB: Tensor, answer_TB: Tensor | None, keep: Masks
) -> Tensor:
    """[T, B, V] of the equations: with the answer to be read, or each time the likeliest symbol."""
    states = [[torch.zeros(inputs_TB.shape[1], 7, dtype=torch.float64)] * 2 for _ in range(2)]
    for t, symbol_B in enumerate(inputs_TB):
        read(p, symbol_B, states, t, "encoder", keep)
    symbol_B, steps = torch.zeros_like(inputs_TB[0]), []  # GO is symbol 0
    for t in range(DATA.target_width):
        h_BH = read(p, symbol_B, states, t, "decoder", keep)
        steps.append(h_BH @ p["decoder.out_w_HV"] + p["decoder.out_b_V"])
        symbol_B = steps[-1].argmax(dim=1) if answer_TB is None else answer_TB[t]
    return torch.stack(steps)


def drawn(one: TrialConfig, evaluation: bool) -> Masks:
    keep = {}
    for layer, steps in enumerate((13, 13, 7, 7)):
        shape = LayerShape(
            steps=steps, batch=one.batch_size, inputs=1 if layer % 2 == 0 else 7, hidden=7
        )
        sites = drawing.layer_sites(
            MaskDraw(
                program=one.regularizer.program(),
                shape=shape,
                layer=layer,
                seed=one.seed,
                counter=0,
                evaluation=evaluation,
            )
        )
        for t in range(steps):
            at = sites.at(t)
            for name, mask in (("keep_cells", at.keep_cells), ("keep_states", at.keep_states)):
                keep[layer, t, name] = torch.zeros(1).double() if mask is None else mask.double()
    return keep


@pytest.mark.parametrize("regularizer", [{}, ZONEOUT])
def test_loss_and_gradient_are_those_of_the_equations(regularizer: dict[str, float]) -> None:
    pack = pack_of(config(precision="float64", **regularizer))
    lane = pack._lanes[0]
    p = trained(pack)
    seed = streams.stream_seed(4, "examples", counter=0)
    inputs_TB, targets_TB = (torch.tensor(ids).T.long() for ids in DATA.draw(seed, 2, 3))
    logits_TBV = logits_of(p, inputs_TB, targets_TB, drawn(lane.config, evaluation=False))
    sums = torch.nn.functional.cross_entropy(
        logits_TBV.flatten(0, 1), targets_TB.flatten(), reduction="sum"
    )
    expected = sums / 7 / 3
    expected.backward()
    rows_1P = pack.state(0).weights[None]
    gradient_1P = torch.zeros_like(rows_1P)
    (told,) = workload(pack).gradients([lane], rows_1P, gradient_1P)
    torch.testing.assert_close(told["loss"], expected.detach(), rtol=1e-12, atol=0)
    for name, gradient_1 in pack.layout.views(gradient_1P).items():
        if gradient_1.numel():
            torch.testing.assert_close(gradient_1[0], p[name].grad, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("regularizer", [{}, ZONEOUT, ZONEOUT | {"static_masks": "same"}])
def test_answers_are_the_likeliest_symbols_read_again(
    regularizer: dict[str, object], short_epochs: None
) -> None:
    one = config(
        precision="float64", init_width=5.0, **regularizer
    )  # so that it says more than one thing
    pack = pack_of(one)
    (record,) = run(pack, 3)
    assert isinstance(record, EpochRecord)
    seed = streams.stream_seed(4, "valid_examples", counter=2)
    inputs_TB, targets_TB = (torch.tensor(ids).T.long() for ids in DATA.draw(seed, 2, 12, "valid"))
    expected_TB = logits_of(trained(pack), inputs_TB, None, drawn(one, evaluation=True)).argmax(
        dim=2
    )
    assert len(expected_TB.unique()) > 2
    own, lane = workload(pack), pack._lanes[0]
    (group,) = own.groups([lane])
    part = addition.GroupUpdate(group.choice, [lane], *own._views(pack.state(0).weights[None]))
    assert torch.equal(own._decode(part, inputs_TB[None])[0], expected_TB)
    assert record.metrics["valid_error"] == (expected_TB != targets_TB).any(dim=0).double().mean()


def record(epoch: int, at: int, error: float) -> EpochRecord:
    return EpochRecord(
        trial=0, epoch=epoch, updates=20 * epoch, metrics={"difficulty": at, "valid_error": error}
    )


def lane_after(*pairs: tuple[int, float], restarted_at: int = 0) -> Lane:
    records = [record(epoch, at, error) for epoch, (at, error) in enumerate(pairs, start=1)]
    return Lane(
        trial=0,
        config=config(),
        epoch_updates=20,
        updates=20 * len(pairs),
        restarted_at=restarted_at,
        records=records,
    )


def test_the_difficulty_rises_once_it_is_mastered() -> None:
    assert difficulty(lane_after(), DATA) == 2
    assert difficulty(lane_after((2, 0.10)), DATA) == 2
    assert difficulty(lane_after((2, 0.0999)), DATA) == 3
    assert difficulty(lane_after((2, 0.05), (3, 0.5)), DATA) == 3
    assert difficulty(lane_after((4, 0.0), (5, 0.0)), DATA) == 5, "there is nothing harder"


def test_the_learning_rate_falls_when_the_error_rises_at_most_difficulty() -> None:
    own = workload(pack_of(config()))

    def factor(lane: Lane) -> float:
        return own.learning_rate(lane) / lane.config.optim.learning_rate

    assert factor(lane_after((2, 0.5), (2, 0.6))) == 1.0
    assert factor(lane_after((4, 0.05), (5, 0.6))) == 0.95, (
        "also against the epoch before, which was easier"
    )
    assert factor(lane_after((5, 0.5), (5, 0.5), (5, 0.4))) == 1.0
    assert factor(lane_after((5, 0.4), (5, 0.5), (5, 0.45), (5, 0.46))) == pytest.approx(0.95**2)
    assert factor(lane_after((5, 0.4), (5, 0.5), (5, 0.45), (5, 0.46), restarted_at=40)) == 0.95, (
        "since the restart"
    )


def test_a_hopeless_lane_begins_again_after_17_epochs() -> None:
    own = workload(pack_of(config()))
    hopeless = [(2, 0.9)] * 17
    assert own.restarts(lane_after(*hopeless))
    assert not own.restarts(lane_after(*hopeless[:16]))
    assert not own.restarts(lane_after(*hopeless, (2, 0.9)))
    assert not own.restarts(lane_after(*hopeless[:16], (2, 0.85)))
    assert own.restarts(lane_after((2, 0.9), *hopeless, restarted_at=20)), (
        "17 epochs after it last began"
    )


def test_a_restart_draws_other_parameters_and_counts(short_epochs: None) -> None:
    pack = pack_of(config(learning_rate=1e-6, epochs=5))
    events = run(pack, 6)
    again = pack.state(0)
    assert again.restarts == 1
    assert not again.m.any()
    first, second = (workload(pack).initial_row(pack.config, restart) for restart in (0, 1))
    assert torch.equal(again.weights, second)
    assert not torch.equal(first, second)
    events += run(pack, 3)
    restarts = [event.metrics["restarts"] for event in events if isinstance(event, EpochRecord)]
    assert restarts == [0, 0, 1]


def test_the_output_layer_draws_its_bias_too() -> None:
    own = workload(pack_of(config()))
    p = own.layout.views(own.initial_row(config())[None])
    assert p["decoder.out_b_V"].abs().max() <= 0.08
    assert p["decoder.out_b_V"].unique().numel() == 13
    for coder in ("encoder", "decoder"):
        assert sorted(p[f"{coder}.b_G"].unique().tolist()) == [0.0, 1.0]
    assert p["encoder.out_w_HV"].numel() == 0, "the encoder predicts nothing"


def test_it_reports_what_its_task_says(short_epochs: None) -> None:
    records = [
        event for event in run(pack_of(config(epochs=2)), 6) if isinstance(event, EpochRecord)
    ]
    for one in records:
        assert tuple(one.metrics) == TASK.metrics.epoch
        assert one.metrics["valid_shortfall"] == 3 + one.metrics["valid_error"]
    final = records[-1].final
    assert final is not None
    assert set(final) == {*TASK.metrics.final, "best_epoch"}
    assert records[-1].metrics["train_loss"] < records[0].metrics["train_loss"]


@pytest.mark.parametrize("output", ["candidate", "zoned"])
def test_a_lane_does_not_depend_on_its_neighbours(output: str, short_epochs: None) -> None:
    values: list[dict[str, object]] = [
        ZONEOUT,
        {"seed": 5},
        {"p_recurrent": 0.25, "beta_norm": 1.0},
    ]
    configs = [config(output=output, **one) for one in values]
    events = run(pack_of(*configs), 9)
    for trial, one in enumerate(configs):
        theirs = [e for e in events if e.trial == trial and isinstance(e, EpochRecord)]
        alone = [e for e in run(pack_of(one), 9) if isinstance(e, EpochRecord)]
        assert [(e.metrics, e.final) for e in theirs] == [(e.metrics, e.final) for e in alone]


def test_a_lane_goes_on_from_its_state(short_epochs: None) -> None:
    pack = pack_of(config(epochs=5, **ZONEOUT))
    run(pack, 7)  # the restart after epoch 2 lies behind it
    state = pack.state(0)
    assert state.restarts == 1
    again = Pack(state.config, DATA, capacity=1)
    again.admit(0, state.config, state)
    for a, b in zip(run(pack, 8), run(again, 8), strict=True):
        if isinstance(a, EpochRecord) and isinstance(b, EpochRecord):
            assert (a.metrics, a.final) == (b.metrics, b.final)
    assert torch.equal(again.state(0).weights, pack.state(0).weights)


def test_programs_train_as_well(short_epochs: None) -> None:
    data = tasks.load_data("addition", "program", Path("not there"))
    (first,) = run(pack_of(config(**(PROGRAM | SMALL)), data=data), 3)
    assert isinstance(first, EpochRecord)
    assert first.metrics["difficulty"] == 1
    assert first.metrics["valid_shortfall"] == 3 + first.metrics["valid_error"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"sequence_length": 12},
            "sequence_length must be 13, the inputs' width, but is 12. Set it with --set sequence_length=VALUE.",
        ),
        (
            {"cell": "bn_lstm"},
            "model.cell must be one that keeps no running numbers with task=addition, whose decoder goes on from an "
            "encoder, but is 'bn_lstm'. Set it with --set model.cell=VALUE.",
        ),
        (
            {"train_fraction": 0.5},
            "train_fraction must be 1 with task=addition, which draws its examples, but is 0.5. "
            "Set it with --set train_fraction=VALUE.",
        ),
    ],
)
def test_what_does_not_fit_is_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        pack_of(config(**values))
    assert str(error.value) == message


def test_masks_drawn_in_an_evaluation_belong_to_the_example() -> None:
    """Whichever examples are read beside it: each piece of a set once had the masks of the first
    piece."""
    pack = pack_of(
        config(precision="float64", init_width=5.0, evaluation_masks="sampled", **ZONEOUT)
    )
    own, lane = workload(pack), pack._lanes[0]
    (group,) = own.groups([lane])
    part = addition.GroupUpdate(group.choice, [lane], *own._views(pack.state(0).weights[None]))
    inputs_TB = own._examples(lane, "valid", 2, 40)[0].repeat(1, 2)
    whole_TB = own._decode(part, inputs_TB[None])[0]
    pieces = [
        own._decode(part, piece_TB[None], 30 * n)[0]
        for n, piece_TB in enumerate(inputs_TB.split(30, dim=1))
    ]
    assert torch.equal(torch.cat(pieces, dim=1), whole_TB)
    assert not torch.equal(whole_TB[:, :40], whole_TB[:, 40:]), (
        "equal examples have masks of their own"
    )
