"""A pack gives every trial the numbers it has alone, bit for bit, whatever happens beside it."""

from collections.abc import Callable, Iterable
from math import isfinite, log
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import fields

from tests.zoneout_core.given_scores import give_scores
from zoneout_core.cells.lstm import LSTM
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.masking import mask_values, streams
from zoneout_core.masking.sites import Sites
from zoneout_core.network.network import Network
from zoneout_core.network.network_sites import NetworkSites
from zoneout_core.network.output_layer import output_product
from zoneout_core.records import CHARACTERS, EpochRecord, LaneEnd, TrialState
from zoneout_core.tasks import Corpus
from zoneout_core.training import checkpoint, evaluate, one_pass
from zoneout_core.training.batches import Batches
from zoneout_core.training.lane_state import LaneState
from zoneout_core.training.pack import Pack

Event = EpochRecord | LaneEnd
UPDATES = 14
"""In an epoch of `tiny_config` on `tiny_corpus`."""


@pytest.fixture
def make_pack(tiny_corpus: Corpus, tiny_config: TrialConfig) -> Callable[..., Pack]:
    def make(capacity: int = 5, **values: Any) -> Pack:
        return Pack(tiny_config.with_values(values), tiny_corpus, capacity=capacity)

    return make


def variations(config: TrialConfig) -> list[TrialConfig]:
    """Five trials that differ in all that lanes may differ in."""
    return [
        config.with_values(values)
        for values in (
            {},
            {"seed": 6, "z_cells": 0.0, "z_states": 0.0},
            {"learning_rate": 0.03, "clip": "update", "clip_norm": 0.1, "offset": "zero"},
            {"seed": 7, "epochs": 2, "z_states": 1.0, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
            {"seed": 8, "patience": 1, "z_cells": 0.25, "clip_norm": 0.01},
        )
    ]


def advance(pack: Pack, steps: int) -> list[Event]:
    return [event for _ in range(steps) for event in pack.update()]


def finish(pack: Pack) -> list[Event]:
    events: list[Event] = []
    while pack.trials:
        events += pack.update()
    return events


def of_trial(trial: int, events: Iterable[Event]) -> list[dict[str, Any]]:
    """All that its events say, but for wall time."""
    plain = [
        {f.name: getattr(event, f.name) for f in fields(event)}
        for event in events
        if event.trial == trial
    ]
    return [
        {key: value for key, value in event.items() if key not in ("seconds", "trial")}
        for event in plain
    ]


def alone(make_pack: Callable[..., Pack], config: TrialConfig) -> list[dict[str, Any]]:
    pack = make_pack(1)
    pack.admit(0, config)
    return of_trial(0, finish(pack))


def assert_same_state(one: LaneState, other: LaneState) -> None:
    """Bitwise, but for wall time."""
    for name in ("weights", "m", "v", "best"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert torch.equal(a, b), f"{name} differs in {int((a != b).sum())} numbers"
    assert (one.updates, one.sums, one.restarted_at, one.config) == (
        other.updates,
        other.sums,
        other.restarted_at,
        other.config,
    )
    assert [(r.epoch, r.metrics) for r in one.records] == [
        (r.epoch, r.metrics) for r in other.records
    ]


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
def test_every_lane_of_a_pack_is_what_it_is_alone(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig, lanes: int
) -> None:
    configs = variations(tiny_config)[:lanes]
    pack = make_pack()
    for trial, config in enumerate(configs):
        pack.admit(trial, config)
    events = finish(pack)
    for trial, config in enumerate(configs):
        assert of_trial(trial, events) == alone(make_pack, config)


@pytest.mark.parametrize(
    ("hidden", "batch", "precision"), [(32, 8, "float32"), (5, 3, "float64"), (24, 5, "bfloat16")]
)
def test_other_shapes_are_invariant_too(
    tiny_corpus: Corpus, tiny_config: TrialConfig, hidden: int, batch: int, precision: str
) -> None:
    shape = {"hidden_size": hidden, "batch_size": batch, "precision": precision}
    configs = [config.with_values(shape) for config in variations(tiny_config)]
    together = Pack(configs[0], tiny_corpus, capacity=5)
    for trial, config in enumerate(configs):
        together.admit(trial, config)
    advance(together, 9)
    for trial, config in enumerate(configs):
        solo = Pack(config, tiny_corpus, capacity=1)
        solo.admit(trial, config)
        advance(solo, 9)
        assert_same_state(together.state(trial), solo.state(trial))


def test_lanes_may_come_and_go_at_any_update(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig
) -> None:
    """Trials enter at updates 0, 3, 20 and 33; the first two leave at 10 and 25, and others move
    into their slots."""
    configs = variations(tiny_config)
    pack = make_pack()
    pack.admit(10, configs[1])
    pack.admit(11, configs[2])
    events = advance(pack, 3)
    pack.admit(0, configs[0])
    events += advance(pack, 7)
    pack.evict(10)
    assert pack.trials == [0, 11]
    events += advance(pack, 10)
    pack.admit(3, configs[3])
    events += advance(pack, 5)
    pack.evict(11)
    assert pack.trials == [0, 3] or pack.trials == [3, 0]
    events += advance(pack, 8)
    pack.admit(4, configs[4])
    events += finish(pack)
    for trial in (0, 3, 4):
        assert of_trial(trial, events) == alone(make_pack, configs[trial])


def test_a_diverging_neighbour_is_evicted_and_touches_nobody(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig
) -> None:
    pack = make_pack()
    pack.admit(9, tiny_config.with_values({"learning_rate": 1e37, "seed": 9}))
    pack.admit(0, tiny_config)
    events = finish(pack)
    assert of_trial(0, events) == alone(make_pack, tiny_config)
    assert [e for e in events if e.trial == 9] == [
        LaneEnd(
            trial=9,
            state=TrialState.FAILED,
            reason="diverged: training loss is nan at epoch 1, update 2",
        )
    ]


def test_the_last_finite_record_of_a_diverged_lane_stands(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig
) -> None:
    """A lane that breaks in its second epoch: one record, then the failure, which says where."""
    pack = make_pack()
    pack.admit(1, tiny_config)
    events = advance(pack, UPDATES + 4)
    state = pack.state(1)
    state.weights[3] = float("nan")
    pack.evict(1)
    pack.admit(1, tiny_config, state)
    pack.admit(2, tiny_config)
    events += finish(pack)
    assert [type(e) for e in events if e.trial == 1] == [EpochRecord, LaneEnd]
    reasons = [e.reason for e in events if e.trial == 1 and isinstance(e, LaneEnd)]
    assert reasons == ["diverged: training loss is nan at epoch 2, update 5"]
    assert of_trial(2, events) == alone(make_pack, tiny_config)


@pytest.mark.parametrize("steps", [0, 1, UPDATES - 1, UPDATES, UPDATES + 5, 3 * UPDATES - 1])
def test_saved_at_any_update_and_loaded_elsewhere_is_never_interrupted(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig, tmp_path: Path, steps: int
) -> None:
    """Through files, into another slot of another pack that is in the middle of its own trials."""
    first = make_pack()
    first.admit(5, variations(tiny_config)[1])
    first.admit(0, tiny_config)
    events = advance(first, steps)
    checkpoint.save(tmp_path, first.state(0))

    state = checkpoint.load(tmp_path)
    assert state is not None
    assert_same_state(state, first.state(0))
    second = make_pack()
    for trial, config in enumerate(variations(tiny_config)[2:], start=20):
        second.admit(trial, config)
    advance(second, 6)
    second.admit(0, state.config, state)
    assert second.trials.index(0) == 3
    events += finish(second)
    assert of_trial(0, events) == alone(make_pack, tiny_config)


WORSENING = {0: (2.0, 2.5, 3.0, 3.5)}
"""Scores of trial 0 of which the first stays the best."""


def four_epochs(config: TrialConfig) -> TrialConfig:
    """Long enough that the best epoch is not the last one."""
    return config.with_values({"seed": 7, "epochs": 4})


def alone_and_worsening(
    make_pack: Callable[..., Pack], config: TrialConfig
) -> list[dict[str, Any]]:
    pack = give_scores(make_pack(1), WORSENING)
    pack.admit(0, config)
    return of_trial(0, finish(pack))


def test_the_best_parameters_move_and_are_saved_with_their_lane(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig, tmp_path: Path
) -> None:
    """The best epoch lies before the move and the save, so that only the parameters kept from then
    can tell."""
    config = four_epochs(tiny_config)
    expected = alone_and_worsening(make_pack, config)
    pack = give_scores(make_pack(), WORSENING)
    pack.admit(1, tiny_config)
    pack.admit(0, config)
    events = advance(pack, UPDATES + 1)
    pack.evict(1)
    checkpoint.save(tmp_path, pack.state(0))
    assert of_trial(0, [*events, *finish(pack)]) == expected

    state = checkpoint.load(tmp_path)
    pack.admit(2, variations(tiny_config)[1])
    pack.admit(0, config, state)
    assert of_trial(0, [*events, *finish(pack)]) == expected


def test_the_final_numbers_are_those_of_the_best_parameters(
    make_pack: Callable[..., Pack], tiny_corpus: Corpus, tiny_config: TrialConfig
) -> None:
    """Evaluated here by hand, from the state right after the best epoch: each protocol on its own
    text."""
    config = four_epochs(tiny_config)
    final = alone_and_worsening(make_pack, config)[-2]["final"]
    pack = make_pack(1)
    pack.admit(0, config)
    (first,) = advance(pack, UPDATES)
    reader = reader_of(config, pack, pack.state(0).weights)
    expected: dict[str, float] = {}
    for split, text in (("valid", tiny_corpus.valid), ("test", tiny_corpus.test)):
        (chunked,) = evaluate.chunked(reader, torch.tensor(text), config.sequence_length)
        (stream,) = one_pass.stream(reader, torch.tensor(text))
        expected |= {
            f"{split}_chunked_bpc": evaluate.bits(chunked),
            f"{split}_stream_bpc": evaluate.bits(stream.nats),
        }
    exact = {"stream_uncertainty_bpc": 0.0, "best_epoch": 1}
    assert final == expected | exact | {CHARACTERS.objective: WORSENING[0][0]}
    assert isinstance(first, EpochRecord)
    assert first.metrics[CHARACTERS.objective] == expected[CHARACTERS.objective]
    assert len(set(expected.values())) == 4


def reader_of(config: TrialConfig, pack: Pack, weights_P: torch.Tensor) -> evaluate.Reader:
    """One lane that reads with its masks as expected."""
    network = Network(config, 8, 8)
    expectation = Sites(
        keep_cells=torch.full((1, 1, 1, 1), 0.5), keep_states=torch.full((1, 1, 1, 1), 0.05)
    )
    return evaluate.Reader(
        network=network,
        p=pack.layout.views(weights_P.unsqueeze(0)),
        expected=lambda _: NetworkSites(layers=(expectation,)),
        choice=pack.choice(config),
        product=output_product(config, torch.device("cpu")),
    )


def test_records_say_what_happened(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig
) -> None:
    pack = make_pack()
    pack.admit(4, tiny_config)
    events = finish(pack)
    records = [e for e in events if isinstance(e, EpochRecord)]
    assert [(r.trial, r.epoch, r.updates) for r in records] == [
        (4, e, e * UPDATES) for e in (1, 2, 3)
    ]
    for record in records:
        assert tuple(record.metrics) == CHARACTERS.epoch
        assert all(isfinite(value) for value in record.metrics.values())
        assert record.seconds > 0
    assert [r.final is None for r in records] == [True, True, False]
    best = min(records, key=lambda r: r.metrics[CHARACTERS.objective])
    final = records[-1].final
    assert final is not None
    assert tuple(final) == (*CHARACTERS.final, "best_epoch")
    assert final["best_epoch"] == best.epoch
    assert final[CHARACTERS.objective] == best.metrics[CHARACTERS.objective]
    assert events[-1] == LaneEnd(trial=4, state=TrialState.COMPLETE, reason="all 3 epochs")


def test_training_metrics_are_the_means_of_the_epochs_updates(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig
) -> None:
    pack = make_pack()
    pack.admit(0, tiny_config)
    advance(pack, UPDATES - 1)
    before = pack.state(0)
    (record,) = advance(pack, 1)
    assert isinstance(record, EpochRecord)
    last_loss = record.metrics["train_bpc"] * log(2) * UPDATES - before.sums["nll"]
    assert 0.5 < last_loss < 2.5, "one more loss in nats, near that of guessing (2.08)"
    assert record.metrics["grad_norm"] * UPDATES > before.sums["grad_norm"]
    assert pack.state(0).sums == {}


def test_patience_ends_a_trial(make_pack: Callable[..., Pack], tiny_config: TrialConfig) -> None:
    pack = give_scores(make_pack(), WORSENING)
    pack.admit(0, four_epochs(tiny_config).with_values({"patience": 2}))
    *_, record, end = finish(pack)
    assert end == LaneEnd(
        trial=0, state=TrialState.COMPLETE, reason="no better validation value for 2 epochs"
    )
    assert isinstance(record, EpochRecord)
    assert record.epoch == 3
    assert record.final is not None
    assert record.final["best_epoch"] == 1


def test_equal_scores_are_no_better(
    make_pack: Callable[..., Pack], tiny_config: TrialConfig
) -> None:
    pack = give_scores(make_pack(), {0: (2.0, 2.0, 2.0, 1.0)})
    pack.admit(0, four_epochs(tiny_config).with_values({"patience": 2}))
    *_, record, end = finish(pack)
    assert isinstance(record, EpochRecord)
    assert (record.epoch, record.final and record.final["best_epoch"]) == (3, 1)
    assert isinstance(end, LaneEnd)


def test_another_shape_is_refused(make_pack: Callable[..., Pack], tiny_config: TrialConfig) -> None:
    pack = make_pack()
    other = tiny_config.with_values({"hidden_size": 8})
    with pytest.raises(ConfigError) as caught:
        pack.admit(3, other)
    assert str(caught.value) == (
        f"Lanes of a pack must share their shape key, but trial 3 has {other.shape_key()} "
        f"and the pack {tiny_config.shape_key()}. Put it into a pack of its own shape."
    )
    assert pack.trials == []
    assert pack.update() == []


def test_a_text_shorter_than_a_chunk_is_refused(
    tiny_corpus: Corpus, tiny_config: TrialConfig
) -> None:
    with pytest.raises(ConfigError) as caught:
        Pack(tiny_config.with_values({"sequence_length": 600}), tiny_corpus, capacity=1)
    assert str(caught.value) == (
        "sequence_length must be at most the length of the valid and test texts, but is 600 and the shorter one has 553 "
        "characters. Set it with --set sequence_length=VALUE."
    )


def test_a_fraction_trains_on_the_start_of_the_text(
    tiny_corpus: Corpus, tiny_config: TrialConfig
) -> None:
    config = tiny_config.with_values({"train_fraction": 0.5, "epochs": 1})
    pack = Pack(config, tiny_corpus, capacity=1)
    pack.admit(0, config)
    (record, _) = finish(pack)
    assert isinstance(record, EpochRecord)
    assert record.updates == Batches(config, 575).epoch_updates == 7


def test_it_learns(
    make_pack: Callable[..., Pack], tiny_corpus: Corpus, tiny_config: TrialConfig
) -> None:
    """The text has 0.72 bits per character; guessing by the last symbol alone is all there is to
    learn."""
    config = tiny_config.with_values(
        {"hidden_size": 16, "learning_rate": 0.02, "epochs": 12, "z_cells": 0.1}
    )
    pack = Pack(config, tiny_corpus, capacity=1)
    pack.admit(0, config)
    record = finish(pack)[-2]
    assert isinstance(record, EpochRecord)
    assert record.final is not None
    for name in CHARACTERS.final:
        assert name.startswith("stream_uncertainty") or 0.65 < record.final[name] < 0.85, name


@pytest.mark.parametrize("init_state", ["trainable", "zero"])
def test_updates_agree_with_the_reference_cell_autograd_and_pytorchs_adam(
    tiny_corpus: Corpus, tiny_config: TrialConfig, init_state: str
) -> None:
    """Five updates in float64, the one with the short batch among them, masks, clip and trainable
    states included."""
    values = {
        "precision": "float64",
        "init_state": init_state,
        "clip_norm": 0.05,
        "learning_rate": 0.01,
    }
    config = tiny_config.with_values(values)
    pack = Pack(config, tiny_corpus, capacity=2)
    pack.admit(0, config)
    advance(pack, UPDATES - 3)
    start = pack.state(0)

    layout = pack.layout
    leaves = {
        n: torch.nn.Parameter(v[0].clone()) for n, v in layout.views(start.weights[None]).items()
    }
    adam = torch.optim.Adam(leaves.values(), lr=0.01)
    for name, leaf in leaves.items():
        adam.state[leaf] = {"step": torch.tensor(float(start.updates))} | {
            key: layout.views(row[None])[name][0].clone()
            for key, row in (("exp_avg", start.m), ("exp_avg_sq", start.v))
        }
    batches = Batches(config, len(tiny_corpus.train))
    sizes = []
    for step in range(start.updates, start.updates + 5):
        starts = batches.starts(step)
        sizes.append(len(starts))
        chunks_LB = torch.stack(
            [torch.tensor(tiny_corpus.train[s : s + 21]).long() for s in starts.tolist()], dim=1
        )
        loss = plain_loss(leaves, chunks_LB, config, step)
        adam.zero_grad()
        loss.backward()
        norm = torch.nn.utils.get_total_norm(
            [leaf.grad for leaf in leaves.values() if leaf.grad is not None]
        )
        assert float(norm) > 0.05, "the clip binds"
        for leaf in leaves.values():
            assert leaf.grad is not None
            leaf.grad *= 0.05 / norm
        adam.step()
    assert 1 in sizes

    advance(pack, 5)
    end = pack.state(0)
    for name, view in layout.views(end.weights[None]).items():
        torch.testing.assert_close(view[0], leaves[name].detach(), rtol=1e-10, atol=1e-12)


def plain_loss(
    leaves: dict[str, torch.nn.Parameter], chunks_LB: torch.Tensor, config: TrialConfig, step: int
) -> torch.Tensor:
    """Spec section 2.3 as it reads, for one lane, by the reference cell; masks from the trial's own
    streams."""
    hidden, shape = (
        config.model.hidden_size,
        (config.sequence_length - 1, config.batch_size, config.model.hidden_size),
    )
    drawn = []
    for purpose, z in (("masks_cells", 0.5), ("masks_states", 0.05)):
        mask = torch.empty(shape, dtype=torch.bool)
        mask_values.draw_(mask, z, streams.generator(config.seed, purpose, counter=step))
        drawn.append(mask[:, : chunks_LB.shape[1]])
    x_TBD = torch.nn.functional.one_hot(chunks_LB[:-1], 8).double()
    zeros_H = torch.zeros(hidden, dtype=torch.float64)
    state = tuple(
        leaves.get(name, zeros_H).expand(chunks_LB.shape[1], hidden) for name in ("h0_H", "c0_H")
    )
    p = {"w_DG": leaves["w_DG"], "u_HG": leaves["u_HG"], "b_G": leaves["b_G"]}
    sites = Sites(keep_cells=drawn[0], keep_states=drawn[1])
    h_TBH, _ = LSTM().run(p, x_TBD, state, sites, training=True).states
    logits_NV = (h_TBH @ leaves["out_w_HV"] + leaves["out_b_V"]).flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits_NV, chunks_LB[1:].flatten())
