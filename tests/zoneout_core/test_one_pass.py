"""One pass through a text, read in segments: as exact as it says, however long the network
remembers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.masking import program
from zoneout_core.masking.places import Places
from zoneout_core.network.init import InitialDraw
from zoneout_core.tasks import Corpus
from zoneout_core.training import evaluate, one_pass, segments
from zoneout_core.training.evaluate import Reader
from zoneout_core.training.lane import Lane
from zoneout_core.training.one_pass import Score
from zoneout_core.training.workloads.language import Language

SYMBOLS = 6
TEXT = torch.randint(
    SYMBOLS, (3001,), generator=torch.Generator().manual_seed(2), dtype=torch.uint8
)
WARMUP, SEGMENTS = 100, 8
LENGTH = 11

Rows = Callable[..., tuple[Language, list[Lane], Tensor]]


def config(**values: Any) -> TrialConfig:
    base = {"hidden_size": 8, "batch_size": 4, "sequence_length": LENGTH, "precision": "float64"}
    return TrialConfig().with_values(base | values)


def reader(*configs: TrialConfig, number: int = 0, monte_carlo: bool = False) -> Reader:
    """Lanes with weights well away from those of the start, so that their states matter."""
    ids = TEXT.numpy()
    corpus = Corpus(
        name="t", variant="t", train=ids, valid=ids, test=ids, vocabulary=tuple("abcdef"), sha256=""
    )
    workload = Language(configs[0], corpus, torch.device("cpu"))
    rows, lanes = [], []
    for trial, one in enumerate(configs):
        network = workload.network
        row_P = workload.layout.row(network.initial(InitialDraw(one.model, trial)), workload.dtype)
        noise = torch.randn(
            len(row_P), generator=torch.Generator().manual_seed(4 + trial), dtype=workload.dtype
        )
        rows.append(row_P + 0.5 * noise)
        lanes.append(Lane(trial=trial, config=one, epoch_updates=1))
    programs = (
        [program.monte_carlo(one.regularizer.program())[1] for one in configs]
        if monte_carlo
        else ()
    )
    parameters = workload._parameters(torch.stack(rows))
    return workload._reader(lanes, parameters, workload.choose(configs[0]), number, programs)


def stream(lanes: Reader, **how: Any) -> list[Score]:
    return one_pass.stream(lanes, TEXT, **{"segments": SEGMENTS, "warmup": WARMUP} | how)


def exact(lanes: Reader) -> list[float]:
    return [score.nats for score in stream(lanes, segments=1)]


LONG = {
    "ordinary": {"z_cells": 0.5, "z_states": 0.05},
    "slow cells": {"z_cells": 0.999, "z_states": 0.5},
    "slower cells": {"z_cells": 0.9999, "z_states": 0.0},
    "slow states": {"z_cells": 0.0, "z_states": 0.999},
    "static masks": {"z_cells": 0.9, "z_states": 0.5, "static_masks": "same"},
    "sampled masks": {"z_cells": 0.99, "z_states": 0.5, "evaluation_masks": "sampled"},
    "sampled dropout": {"p_recurrent": 0.4, "z_cells": 0.98, "evaluation_masks": "sampled"},
    "gru": {"cell": "gru", "z_states": 0.999},
    "two layers": {"num_layers": 2, "z_cells": 0.999},
}


@pytest.mark.parametrize("values", LONG.values(), ids=LONG)
def test_however_long_it_remembers_it_is_the_one_pass(values: dict[str, Any]) -> None:
    """A warm-up of 100 symbols is nothing to a cell that keeps 0.9999 of itself at each."""
    lanes = reader(config(**values))
    (score,), (truth,) = stream(lanes), exact(lanes)
    assert abs(score.nats - truth) <= score.uncertainty + 1e-12
    assert score.uncertainty <= one_pass.SCORE_TOLERANCE


def test_the_uncertainty_is_measured_and_zero_where_the_text_is_read_in_one_piece() -> None:
    ordinary = reader(config(z_cells=0.5, z_states=0.05))
    assert 0 < stream(ordinary, warmup=60)[0].uncertainty < 1e-6
    assert stream(ordinary, segments=1)[0].uncertainty == 0
    assert stream(ordinary, warmup=2000, segments=None) == stream(ordinary, segments=1)
    never_forgets = reader(config(**LONG["slower cells"]))
    assert stream(never_forgets) == stream(never_forgets, segments=1)


def test_what_one_lane_needs_changes_no_bit_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [
        config(**LONG[name]) for name in ("ordinary", "slow cells", "slower cells", "sampled masks")
    ]
    together = stream(reader(*configs))
    for k in range(len(configs)):
        assert stream(reader(*configs).alone(k)) == [together[k]]
    assert stream(reader(configs[0])) == [together[0]]
    monkeypatch.setattr(one_pass, "STATE_TOLERANCE", float("inf"))
    monkeypatch.setattr(one_pass, "SCORE_TOLERANCE", float("inf"))
    trusted = stream(reader(*configs))
    assert trusted[0] == together[0], "a warm-up that suffices leaves the first reading as it is"
    assert abs(trusted[1].nats - together[1].nats) > 1e-3, "and one that does not, does not"


def test_only_lanes_whose_warm_up_did_not_suffice_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    before = Reader.nll

    def counted(self: Reader, inputs: Tensor, *more: Any) -> Any:
        read.append(inputs.numel())
        return before(self, inputs, *more)

    monkeypatch.setattr(Reader, "nll", counted)
    cost = []
    for name in ("ordinary", "slow cells", "slower cells"):
        read.clear()
        stream(reader(config(**LONG[name])), segments=3, warmup=600)
        cost.append(sum(read) / (3 * (600 + 800)))
    assert cost[0] == pytest.approx(1 + 100 / 1400), (
        "the first 100 predictions of each, to measure the uncertainty"
    )
    assert cost[0] + 0.5 < cost[1] < 4
    assert cost[0] + 0.5 < cost[2] < 3


def test_a_lane_that_overflows_is_not_read_again() -> None:
    lanes = reader(config(z_cells=0.999), config(z_cells=0.5))
    broken = {name: one.clone() for name, one in lanes.p.items()}
    for one in broken.values():
        one[0] = torch.nan
    lanes_with_nan = one_pass.stream(
        Reader(
            network=lanes.network,
            p=broken,
            expected=lanes.expected,
            choice=lanes.choice,
            product=lanes.product,
        ),
        TEXT,
        segments=SEGMENTS,
        warmup=WARMUP,
    )
    assert lanes_with_nan[0].nats != lanes_with_nan[0].nats
    assert lanes_with_nan[1] == stream(lanes)[1]


@pytest.mark.parametrize("name", ["ordinary", "static masks", "sampled masks", "sampled dropout"])
def test_no_number_depends_on_how_the_text_is_cut(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = reader(config(**LONG[name]))
    (truth,) = exact(lanes)
    for steps in (23, 100, 5000):
        (score,) = stream(lanes, steps=steps)
        assert score.nats == pytest.approx(truth, abs=score.uncertainty + 1e-12)
    chunked = evaluate.chunked(lanes, TEXT, LENGTH)
    monkeypatch.setattr(evaluate, "CHUNKS", 5)
    assert evaluate.chunked(lanes, TEXT, LENGTH) == pytest.approx(chunked, rel=1e-12)


def test_monte_carlo_passes_are_one_pass_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that is drawn for a sequence is one mask along the whole text, in whatever segments
    that is read."""
    one = config(
        task="word_ptb",
        carry="zero",
        embedding_size=5,
        p_sequence_states=0.6,
        mc_passes=2,
        z_cells=0.99,
        sequence_length=LENGTH,
    )
    monkeypatch.setattr(one_pass, "WARMUP", WARMUP)
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 5)
    passes = [reader(one, number=number, monte_carlo=True) for number in range(2)]
    assert stream(passes[0])[0] != stream(passes[1])[0]
    (score,) = one_pass.averaged(passes, TEXT)
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 1)
    (truth,) = one_pass.averaged(passes, TEXT)
    assert score.nats == pytest.approx(truth.nats, abs=score.uncertainty + 1e-12)
    assert truth.uncertainty == 0


def test_masks_drawn_along_a_text_never_repeat() -> None:
    """They once began anew after as many steps as a chunk of training has."""
    one, period = (
        config(z_cells=0.5, z_states=0.3, evaluation_masks="sampled", hidden_size=100),
        LENGTH - 1,
    )
    lanes = reader(one)
    positions_T1 = torch.arange(2000).unsqueeze(1)
    zero = torch.zeros(1, dtype=torch.int64)
    whole = lanes.expected(Places(positions_T1, positions_T1, zero)).layers[0].present()
    for mask, z in ((whole["keep_cells"], 0.5), (whole["keep_states"], 0.3)):
        kept_TU = mask[0, :, 0].double() - z
        deviation = (z * (1 - z)) / (2000 * 100) ** 0.5
        assert abs(float(kept_TU.mean())) < 5 * (z * (1 - z)) ** 0.5 / (2000 * 100) ** 0.5
        for lag in (1, period, 2 * period, 50, 100, 127, 1000):
            assert abs(float((kept_TU[lag:] * kept_TU[:-lag]).mean())) < 5 * deviation * 2**0.5, lag
    some_TB = torch.tensor([[3, 1999], [4, 50], [5, 51]])
    there = (
        lanes.expected(Places(some_TB, some_TB, torch.zeros(2, dtype=torch.int64)))
        .layers[0]
        .present()
    )
    for name, mask in there.items():
        assert torch.equal(mask[0], whole[name][0, some_TB, 0])
    other_pass = (
        reader(one, number=1).expected(Places(positions_T1, positions_T1, zero)).layers[0].present()
    )
    assert 0.4 < float((other_pass["keep_cells"] == whole["keep_cells"]).double().mean()) < 0.6


def test_static_masks_begin_anew_after_the_steps_of_training_in_every_segment() -> None:
    """The mask of a symbol is that of its place in the text, whichever segment reads it."""
    lanes = reader(config(**LONG["static masks"]))
    steps_TB = torch.tensor([[0, 7], [1, 8], [2, 9], [3, 10]])
    sites = (
        lanes.expected(Places(steps_TB, steps_TB, torch.zeros(2, dtype=torch.int64)))
        .layers[0]
        .present()
    )
    steps_T1 = torch.arange(LENGTH - 1).unsqueeze(1)
    training = (
        lanes.expected(Places(steps_T1, steps_T1, torch.zeros(1, dtype=torch.int64)))
        .layers[0]
        .present()
    )
    for name, mask in sites.items():
        assert torch.equal(mask[0], training[name][0, steps_TB % (LENGTH - 1), 0])
