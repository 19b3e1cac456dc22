"""Sequences with a class each: the loss and gradient of the equations, batches, scores, lanes (spec
section 5)."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.masking import drawing
from zoneout_core.masking.drawing import LayerShape, MaskDraw
from zoneout_core.records import EpochRecord
from zoneout_core.tasks import Labelled
from zoneout_core.training.lane import Lane
from zoneout_core.training.pack import Pack, PackEvent
from zoneout_core.training.workloads import classification
from zoneout_core.training.workloads.classification import EVAL_BATCH, Classification

TASK = tasks.get("sequential_mnist")
TRAIN, STEPS, CLASSES = 57, 14, 3
SMALL = {
    "hidden_size": 11,
    "batch_size": 8,
    "sequence_length": STEPS,
    "epochs": 2,
    "seed": 4,
    "learning_rate": 0.01,
}
ZONEOUT = {"z_cells": 0.15, "z_states": 0.15, "zoneout_mask": "shared"}


@cache
def data(held_out: int = 40) -> Labelled:
    """Sequences whose class is which third is brightest."""
    random = np.random.default_rng(2)
    parts = {}
    for name, count in (("train", TRAIN), ("valid", held_out), ("test", held_out)):
        labels = np.concatenate(
            [np.arange(CLASSES), random.integers(0, CLASSES, count - CLASSES)]
        ).astype(np.uint8)
        sequences = random.integers(0, 120, (count, STEPS))
        for sequence, label in zip(sequences, labels, strict=True):
            sequence[label * 4 : label * 4 + 4] += 120
        parts |= {name: sequences.astype(np.uint8), f"{name}_labels": labels}
    return Labelled(name="thirds", variant="any", classes=CLASSES, sha256="0" * 64, **parts)


def config(**values: object) -> TrialConfig:
    return TASK.config(**(SMALL | values))


def pack_of(*configs: TrialConfig) -> Pack:
    pack = Pack(configs[0], data(), capacity=len(configs))
    for trial, one in enumerate(configs):
        pack.admit(trial, one)
    return pack


def run(pack: Pack, steps: int) -> list[PackEvent]:
    return [event for _ in range(steps) for event in pack.update()]


def workload(pack: Pack) -> Classification:
    assert isinstance(pack.workload, Classification)
    return pack.workload


def logits_of(
    p: dict[str, Tensor], x_BT: Tensor, keep_cells: Tensor, keep_states: Tensor
) -> Tensor:
    """The LSTM's equations, read off spec sections 1 and 9.1; p: one lane's parameters. keep_*: [T,
    B, H]."""
    h, c = (p[name].expand(len(x_BT), -1) for name in ("h0_H", "c0_H"))
    for t in range(x_BT.shape[1]):
        a = x_BT[:, t : t + 1] * p["w_DG"] + h @ p["u_HG"] + p["b_G"]
        i, f, o, g = a.chunk(4, dim=1)
        candidate = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = keep_states[t] * h + (1 - keep_states[t]) * o.sigmoid() * candidate.tanh()
        c = keep_cells[t] * c + (1 - keep_cells[t]) * candidate
    return h @ p["out_w_HV"] + p["out_b_V"]


def chosen(lane: Lane, pack: Pack) -> tuple[Tensor, Tensor]:
    index_B = workload(pack)._chosen(lane)
    return torch.tensor(data().train[index_B] / 255), torch.tensor(
        data().train_labels[index_B]
    ).long()


@pytest.mark.parametrize("regularizer", [{}, ZONEOUT, {"z_cells": 0.5, "z_states": 0.05}])
def test_loss_and_gradient_are_those_of_the_equations(regularizer: dict[str, object]) -> None:
    pack = pack_of(config(precision="float64", **regularizer))
    lane = pack._lanes[0]
    row_P = pack.state(0).weights
    p = {
        name: view_1[0].clone().requires_grad_()
        for name, view_1 in pack.layout.views(row_P[None]).items()
    }
    x_BT, label_B = chosen(lane, pack)
    drawn = drawing.layer_sites(
        MaskDraw(
            program=lane.config.regularizer.program(),
            shape=LayerShape(steps=STEPS, batch=8, inputs=1, hidden=11),
            layer=0,
            seed=4,
            counter=0,
        )
    )
    none = torch.zeros(STEPS, 8, 11)
    keeps = [
        (none if mask is None else mask).double() for mask in (drawn.keep_cells, drawn.keep_states)
    ]
    assert bool(regularizer) == any(keep.any() for keep in keeps)
    expected = torch.nn.functional.cross_entropy(logits_of(p, x_BT, *keeps), label_B)
    expected.backward()
    gradient_1P = torch.zeros_like(row_P)[None]
    (told,) = workload(pack).gradients([lane], row_P[None].clone(), gradient_1P)
    torch.testing.assert_close(told["loss"], expected.detach(), rtol=1e-12, atol=0)
    wrong_B = logits_of(p, x_BT, *keeps).argmax(dim=1) != label_B
    assert told["error"] == wrong_B.double().mean()
    for name, gradient_1 in pack.layout.views(gradient_1P).items():
        torch.testing.assert_close(gradient_1[0], p[name].grad, rtol=1e-9, atol=1e-12, msg=name)


def test_an_epoch_shows_every_example_at_most_once_in_another_order() -> None:
    pack = pack_of(config())
    lane = pack._lanes[0]
    assert lane.epoch_updates == TRAIN // 8 == 7
    seen = []
    for lane.updates in range(14):
        seen.append(workload(pack)._chosen(lane).tolist())
    for epoch in (seen[:7], seen[7:]):
        flat = [index for batch in epoch for index in batch]
        assert len(set(flat)) == len(flat) == 56
    assert seen[:7] != seen[7:]
    lane.updates = 3
    assert workload(pack)._chosen(lane).tolist() == seen[3], "by the step alone"


def test_it_learns_and_reports_what_its_task_says() -> None:
    pack = pack_of(config(epochs=25, **ZONEOUT))
    records = [event for event in run(pack, 25 * 7) if isinstance(event, EpochRecord)]
    assert tuple(records[0].metrics) == TASK.metrics.epoch
    assert records[0].metrics["valid_error"] > 0.3
    assert min(record.metrics["valid_error"] for record in records) < 0.1
    assert records[-1].metrics["train_loss"] < 0.5 < records[0].metrics["train_loss"]
    final = records[-1].final
    assert final is not None
    assert set(final) == {*TASK.metrics.final, "best_epoch"}
    assert final["valid_error"] == min(record.metrics["valid_error"] for record in records)
    assert final["test_error"] < 0.2


def test_scores_are_taken_with_masks_as_expected() -> None:
    pack = pack_of(config(precision="float64", epochs=1, **ZONEOUT))
    lane = pack._lanes[0]
    events = run(pack, 6)
    own, rows_1P = workload(pack), pack.state(0).weights[None]
    x_TBD = torch.tensor(data().valid.T / 255).unsqueeze(-1)
    p, found = own._read([lane], rows_1P, x_TBD, own.choose(lane.config), training=False)
    expected = torch.full((STEPS, 1, 1), 0.15, dtype=torch.float64)
    one = {name: view_1[0] for name, view_1 in pack.layout.views(rows_1P).items()}
    logits_BC = logits_of(one, torch.tensor(data().valid / 255), expected, expected)
    torch.testing.assert_close(own._logits(p, found)[0], logits_BC, rtol=1e-12, atol=1e-12)
    wrong = logits_BC.argmax(dim=1).numpy() != data().valid_labels
    assert own._errors([lane], rows_1P, own._valid) == [wrong.mean()]
    assert not events


@pytest.mark.parametrize("cell", ["lstm", "bn_lstm"])
def test_a_lane_does_not_depend_on_its_neighbours(cell: str) -> None:
    regularizers: list[dict[str, object]] = [
        ZONEOUT,
        {"p_recurrent": 0.5},
        {"seed": 9, "beta_norm": 1.0},
    ]
    configs = [config(cell=cell, **values) for values in regularizers]
    together = pack_of(*configs)
    records = run(together, 14)
    for trial, one in enumerate(configs):
        alone = run(pack_of(one), 14)
        theirs = [event for event in records if event.trial == trial]
        for a, b in zip(theirs, alone, strict=True):
            if isinstance(a, EpochRecord) and isinstance(b, EpochRecord):
                assert (a.metrics, a.final) == (b.metrics, b.final)


@pytest.mark.parametrize("cell", ["lstm", "bn_lstm"])
def test_a_lane_goes_on_from_its_state(cell: str) -> None:
    pack = pack_of(config(cell=cell, **ZONEOUT))
    run(pack, 10)
    state = pack.state(0)
    again = Pack(state.config, data(), capacity=1)
    again.admit(0, state.config, state)
    run(pack, 3)
    run(again, 3)
    assert torch.equal(again.state(0).weights, pack.state(0).weights)


def test_running_statistics_move_with_training_and_population_replaces_them_in_the_end() -> None:
    pack = pack_of(config(cell="bn_lstm", population_rate=0.5, epochs=1, **ZONEOUT))
    names = workload(pack).network.kept()
    start = pack.layout.kept_views(pack.state(0).weights[None])
    run(pack, 6)
    moved = pack.layout.kept_views(pack.state(0).weights[None])
    for name in names:
        changed = moved[name] != start[name]
        assert changed[0, 1:].any(dim=-1).all(), (
            f"{name} at every step but the first, where all states are alike"
        )
    row_1P = pack.state(0).weights[None].clone()
    trained = row_1P[:, : pack.layout.trained_size].clone()
    own = workload(pack)
    own.keep_population(own.network, row_1P, own._training_runs(pack._lanes[0], row_1P))
    assert torch.equal(row_1P[:, : pack.layout.trained_size], trained)
    mean_TG = pack.layout.kept_views(row_1P)["mean_w_TG"][0]
    w_DG = pack.layout.views(row_1P)["w_DG"][0]
    expected_TG = torch.tensor(data().train / 255).float().mean(dim=0).unsqueeze(1) * w_DG
    torch.testing.assert_close(mean_TG, expected_TG, msg="of W x, over all training examples")


def test_the_test_is_taken_with_population_statistics() -> None:
    """Running ones that hardly move stay at mean 0 and variance 1, which suit no network."""
    pack = pack_of(config(cell="bn_lstm", population_rate=1e-9, epochs=30))
    run(pack, 140)
    own, lane, rows_1P = workload(pack), pack._lanes[0], pack.state(0).weights[None]
    (final,) = own.conclude([lane], rows_1P)
    (running,) = own._errors([lane], rows_1P, own._test)
    assert final["test_error"] < 0.15 < running


def test_no_score_depends_on_how_many_examples_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = []
    for together in (EVAL_BATCH, 16):
        monkeypatch.setattr("zoneout_core.training.workloads.classification.EVAL_BATCH", together)
        record, _ = run(pack_of(config(epochs=1)), 7)
        assert isinstance(record, EpochRecord)
        scores.append((record.metrics, record.final))
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"sequence_length": STEPS + 1},
            "sequence_length must be at most 14, the length of the sequences, but is 15. Set it with --set sequence_length=VALUE.",
        ),
        (
            {"embedding_size": 5},
            "model.embedding_size must be 0 with task=sequential_mnist, but is 5. Set it with --set model.embedding_size=VALUE.",
        ),
        (
            {"batch_size": 29, "train_fraction": 0.5},
            "batch_size must be at most the number of examples to train on, but is 29 of 28. "
            "Set a smaller batch_size or a larger train_fraction.",
        ),
    ],
)
def test_what_does_not_fit_is_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        pack_of(config(**values))
    assert str(error.value) == message


@pytest.mark.parametrize("regularizer", [ZONEOUT, {"p_sequence_states": 0.4}])
def test_masks_drawn_in_an_evaluation_belong_to_the_example(regularizer: dict[str, object]) -> None:
    """Whichever examples are read beside it: each piece of a set once had the masks of the first
    piece."""
    pack = pack_of(config(precision="float64", evaluation_masks="sampled", **regularizer))
    own, lane, rows_1P = workload(pack), pack._lanes[0], pack.state(0).weights[None]
    x_TBD = torch.tensor(data().valid.T / 255).unsqueeze(-1)
    twice_TBD = torch.cat([x_TBD, x_TBD], dim=1)

    def logits(x_TBD: Tensor, first: int) -> Tensor:
        p, found = own._read(
            [lane], rows_1P, x_TBD, own.choose(lane.config), training=False, first=first
        )
        return own._logits(p, found)[0].clone()

    whole_BC = logits(twice_TBD, 0)
    pieces = [logits(piece_TBD, 30 * n) for n, piece_TBD in enumerate(twice_TBD.split(30, dim=1))]
    torch.testing.assert_close(torch.cat(pieces), whole_BC, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(whole_BC[:40], whole_BC[40:], rtol=1e-3), (
        "equal examples have masks of their own"
    )


def test_population_statistics_are_of_masks_drawn_for_every_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Equal examples in another piece have other masks: each piece once had those of the first."""
    monkeypatch.setattr(classification, "EVAL_BATCH", TRAIN // 3)
    pack = pack_of(
        config(cell="bn_lstm", precision="float64", population_masks="sampled", **ZONEOUT)
    )
    own, lane, rows_1P = workload(pack), pack._lanes[0], pack.state(0).weights[None]
    monkeypatch.setattr(type(own._train), "__getitem__", lambda self, index_B: _piece(index_B))
    runs = [run.statistics[0] for run in own._training_runs(lane, rows_1P)]
    assert len(runs) == 3
    again = [run.statistics[0] for run in own._training_runs(lane, rows_1P)]
    for name, first in runs[0].items():
        assert torch.equal(first, again[0][name]), "equal from call to call"
    assert any(not torch.allclose(runs[0][name], runs[1][name], rtol=1e-3) for name in runs[0])


def _piece(index_B: Tensor) -> tuple[Tensor, Tensor]:
    """The same examples, whichever are asked for."""
    x_BT = torch.linspace(0, 1, TRAIN * STEPS, dtype=torch.float64).view(TRAIN, STEPS)
    return x_BT.T[:, : len(index_B), None], torch.zeros(len(index_B), dtype=torch.int64)
