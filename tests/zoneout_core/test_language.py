"""Texts in a pack: every regularizer and cell beside others, carried states, words, sums, noise and
penalties."""

from collections.abc import Iterable
from math import exp, isfinite
from typing import Any

import pytest
import torch

from zoneout_core import regularizers
from zoneout_core.config import registry
from zoneout_core.config.keys import lane_keys
from zoneout_core.config.trial import TrialConfig, locate
from zoneout_core.masking import noise
from zoneout_core.records import EpochRecord
from zoneout_core.tasks import Corpus
from zoneout_core.training import evaluate, one_pass
from zoneout_core.training.batches import Contiguous
from zoneout_core.training.pack import Pack

BASE: dict[str, Any] = {
    "hidden_size": 6,
    "batch_size": 4,
    "sequence_length": 11,
    "epochs": 2,
    "seed": 5,
}


def config(**values: Any) -> TrialConfig:
    return TrialConfig().with_values(BASE | values)


def admitted(corpus: Corpus, configs: Iterable[TrialConfig]) -> Pack:
    configs = list(configs)
    pack = Pack(configs[0], corpus, capacity=len(configs))
    for trial, one in enumerate(configs):
        pack.admit(trial, one)
    return pack


def advance(pack: Pack, steps: int) -> None:
    for _ in range(steps):
        pack.update()


def assert_alone(corpus: Corpus, configs: list[TrialConfig], steps: int) -> None:
    """Every lane of the pack has the weights that it has alone, bit for bit."""
    together = admitted(corpus, configs)
    advance(together, steps)
    for trial, one in enumerate(configs):
        solo = admitted(corpus, [one])
        advance(solo, steps)
        weights, expected = together.state(trial).weights, solo.state(0).weights
        assert torch.equal(weights, expected), (trial, one.regularizer, one.model.cell)


def lane_examples() -> list[dict[str, Any]]:
    """The examples of all regularizers that differ from the base only in what lanes may differ
    in."""
    found = []
    for name in regularizers.names():
        for example in registry.load(
            "zoneout_core.regularizers", name, "regularizer"
        ).PART.EXAMPLES:
            keys = [".".join(part for part in locate(key) if part) for key in example]
            if lane_keys().issuperset(keys):
                found.append(dict(example))
    return found


def test_lanes_of_all_regularizers_share_one_pack_and_are_what_they_are_alone(
    tiny_corpus: Corpus,
) -> None:
    examples = lane_examples()
    assert len({key for example in examples for key in example}) >= 20, (
        "nearly every setting is among them"
    )
    configs = [config(), *(config(seed=seed, **example) for seed, example in enumerate(examples))]
    assert len({one.shape_key() for one in configs}) == 1
    assert_alone(tiny_corpus, configs, steps=3)


def test_the_hierarchical_cell_carries_its_state_while_its_slope_grows(tiny_corpus: Corpus) -> None:
    one = config(cell="hm_lstm", carry="zero", epochs=2)
    assert_alone(
        tiny_corpus, [one, config(cell="hm_lstm", carry="zero", epochs=2, seed=1)], steps=2
    )
    pack = admitted(tiny_corpus, [one])
    slopes = []
    for _ in range(2 * pack.workload.epoch_updates(one) - 1):
        advance(pack, 1)
        slopes.append(float(pack.layout.kept_views(pack.state(0).weights[None])["slope"]))
    assert len(set(slopes)) == 2
    assert slopes[-1] - slopes[0] == pytest.approx(0.04, abs=1e-6)


@pytest.mark.parametrize("carry", ["zero", "roll"])
def test_the_state_goes_on_from_chunk_to_chunk_and_over_the_epochs_end_as_said(
    tiny_corpus: Corpus, carry: str
) -> None:
    """By the rows: what an update leaves is what a run over its chunk gives from what the one
    before left."""
    one = config(
        carry=carry, precision="float64", num_layers=2, learning_rate=1e-9, sequence_length=30
    )
    pack = admitted(tiny_corpus, [one])
    parts = Contiguous(len(tiny_corpus.train), one.batch_size, one.sequence_length)
    assert pack.workload.epoch_updates(one) == parts.epoch_updates == 9
    text = torch.tensor(tiny_corpus.train).long()
    state = None
    for update in range(parts.epoch_updates + 2):
        before = pack.state(0).weights[None]
        advance(pack, 1)
        p = pack.layout.views(before)
        network = pack.workload.network
        if update % parts.epoch_updates == 0:
            fresh = network.start(p)
            rolled = state is not None and carry == "roll"
            state = (
                tuple(tuple(one.roll(1, 1) for one in layer) for layer in state)
                if rolled
                else fresh
            )
        starts = parts.starts(update)
        x = torch.stack(
            [text[start : start + one.sequence_length] for start in starts.tolist()], dim=1
        )[None]
        sites = pack.workload.sites(
            network, [pack._lanes[0]], steps=one.sequence_length, batch=one.batch_size, evaluation=0
        )
        state = network.run(p, x, state, sites, pack.choice(one), training=True).states
        kept = pack.layout.kept_views(pack.state(0).weights[None])
        for layer, states in enumerate(state):
            for name, value in zip(("h", "c"), states, strict=True):
                torch.testing.assert_close(
                    kept[f"carry{layer}.{name}"], value, rtol=1e-9, atol=1e-12
                )


def test_a_carried_lane_resumes_in_the_middle_of_an_epoch(tiny_corpus: Corpus) -> None:
    one = config(
        carry="zero",
        sequence_length=30,
        sigma_weights=0.05,
        z_cells=0.3,
        beta_norm=2.0,
        schedule="decay",
        decay_after=1,
    )
    whole = admitted(tiny_corpus, [one])
    advance(whole, 14)
    first = admitted(tiny_corpus, [one])
    advance(first, 5)
    second = Pack(one, tiny_corpus, capacity=3)
    second.admit(7, config(carry="zero", sequence_length=30, seed=9))
    second.admit(0, one, first.state(0))
    advance(second, 9)
    assert torch.equal(second.state(0).weights, whole.state(0).weights)
    assert second.state(0).sums == whole.state(0).sums


def test_the_sum_over_time_has_t_times_the_gradient_of_the_mean(tiny_corpus: Corpus) -> None:
    norms = []
    for loss in ("mean", "sum"):
        pack = admitted(tiny_corpus, [config(loss=loss, precision="float64")])
        advance(pack, 1)
        norms.append(pack.state(0).sums)
    assert norms[1]["grad_norm"] == pytest.approx(10 * norms[0]["grad_norm"], rel=1e-12)
    assert norms[1]["loss"] == pytest.approx(10 * norms[0]["loss"], rel=1e-12)
    assert norms[1]["nll"] == pytest.approx(norms[0]["nll"], rel=1e-12)


def test_noise_is_where_the_gradient_is_taken_and_not_in_what_is_kept(tiny_corpus: Corpus) -> None:
    """The gradient is that at weights with the noise of the trial's stream; the update starts from
    the clean ones."""
    noisy = config(
        sigma_weights=0.3, precision="float64", optimizer="sgd", learning_rate=1.0, clip_norm="inf"
    )
    pack = admitted(tiny_corpus, [noisy])
    before = pack.state(0).weights
    advance(pack, 1)
    step = before - pack.state(0).weights

    shifted = before.clone()
    views = pack.layout.views(shifted[None])
    noise.noise_(
        [views[name][0] for name in pack.workload.network.matrices()],
        0.3,
        seed=noisy.seed,
        update=0,
    )
    assert not torch.equal(shifted, before)
    clean = config(precision="float64", optimizer="sgd", learning_rate=1.0, clip_norm="inf")
    other = admitted(tiny_corpus, [clean])
    state = other.state(0)
    state.weights = shifted
    other.evict(0)
    other.admit(0, clean, state)
    advance(other, 1)
    torch.testing.assert_close(step, shifted - other.state(0).weights, rtol=1e-9, atol=1e-12)


def test_a_penalty_is_added_to_the_loss_and_not_to_what_is_told_of_the_text(
    tiny_corpus: Corpus,
) -> None:
    sums = []
    for values in ({}, {"beta_norm": 50.0}, {"beta_norm": 50.0, "norm_of": "cells"}):
        pack = admitted(tiny_corpus, [config(precision="float64", **values)])
        advance(pack, 1)
        sums.append(pack.state(0).sums)
    assert sums[0]["loss"] == sums[0]["nll"]
    for penalised in sums[1:]:
        assert penalised["nll"] == pytest.approx(sums[0]["nll"], rel=1e-12)
        assert penalised["loss"] > sums[0]["loss"] + 1e-6
    assert sums[1]["loss"] != pytest.approx(sums[2]["loss"], rel=1e-6)


def test_words_are_told_in_perplexity_and_monte_carlo_passes_beside_the_mean_network(
    tiny_corpus: Corpus,
) -> None:
    words = {
        "task": "word_ptb",
        "carry": "zero",
        "embedding_size": 5,
        "num_layers": 2,
        "loss": "sum",
        "sequence_length": 10,
    }
    final = []
    for more in ({}, {"p_sequence_states": 0.6, "mc_passes": 3}):
        one = config(**words, **more)
        pack = admitted(tiny_corpus, [one])
        events = []
        while pack.trials:
            events += pack.update()
        record = events[-2]
        assert isinstance(record, EpochRecord)
        assert tuple(record.metrics) == (
            "train_perplexity",
            "valid_perplexity",
            "learning_rate",
            "grad_norm",
        )
        assert record.final is not None
        final.append(record.final)
    assert final[0]["test_mc_perplexity"] == final[0]["test_perplexity"]
    assert final[1]["test_mc_perplexity"] != final[1]["test_perplexity"]
    assert 1 < final[0]["valid_perplexity"] < 10, "of eight symbols"


def test_averaged_probabilities_of_equal_readers_are_those_of_one(tiny_corpus: Corpus) -> None:
    pack = admitted(tiny_corpus, [config(precision="float64")])
    lane = pack._lanes[0]
    reader = pack.workload._reader(
        [lane], pack.layout.views(pack.state(0).weights[None]), pack.choice(lane.config)
    )
    text = torch.tensor(tiny_corpus.test)
    averaged, once = one_pass.averaged([reader, reader], text), one_pass.stream(reader, text)
    assert averaged[0].nats == pytest.approx(once[0].nats, rel=1e-12)


def test_the_codes_random_validation_offset_moves_the_number_a_little(tiny_corpus: Corpus) -> None:
    values = []
    for offset in ("zero", "random"):
        pack = admitted(tiny_corpus, [config(valid_offset=offset, epochs=1)])
        events = []
        while pack.trials:
            events += pack.update()
        record = events[0]
        assert isinstance(record, EpochRecord)
        values.append(record.metrics["valid_chunked_bpc"])
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], rel=0.05)


def test_counts_of_words() -> None:
    """Spec section 3: 1,327 updates an epoch; validation covers 73,500 of 73,760 tokens."""
    assert Contiguous(929_589, 20, 35).epoch_updates == 1327
    assert Contiguous(73_760, 20, 35).epoch_updates * 20 * 35 == 73_500


def test_perplexity_that_has_no_number_is_infinite() -> None:
    assert evaluate.perplexity(1.0) == exp(1.0)
    assert not isfinite(evaluate.perplexity(1e6))


@pytest.mark.parametrize(
    ("setting", "moved"),
    [
        ({"batch_norm_scores": "batch"}, "valid_chunked_bpc"),
        ({"population_masks": "sampled"}, "test_chunked_bpc"),
    ],
)
def test_batch_norm_may_be_scored_as_the_code_does(
    tiny_corpus: Corpus, setting: dict[str, Any], moved: str
) -> None:
    """Spec section 12, row 25, and section 5: validation by the batches' own statistics; masks
    drawn while population statistics are taken. Training is the same, bit for bit."""
    states = []
    for values in ({}, setting):
        one = config(
            cell="bn_lstm", population_rate=0.5, z_cells=0.5, z_states=0.3, epochs=1, **values
        )
        pack = admitted(tiny_corpus, [one])
        while pack.trials:
            pack.update()
        states.append(pack.state(0))
    trained = pack.layout.trained_size
    assert torch.equal(states[0].weights[:trained], states[1].weights[:trained])
    first, second = states[0].records[-1].final, states[1].records[-1].final
    assert first is not None
    assert second is not None
    assert first[moved] != second[moved]
    assert (first["valid_chunked_bpc"] != second["valid_chunked_bpc"]) == (
        moved == "valid_chunked_bpc"
    )
