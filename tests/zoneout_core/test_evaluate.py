"""Both evaluation protocols against a plain loop over the reference cell, and what they may not depend on."""

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from zoneout_core import evaluate
from zoneout_core.cells.lstm import LSTM
from zoneout_core.config import TrialConfig
from zoneout_core.kernels import choose
from zoneout_core.model import Masks, Model
from zoneout_core.sites import Sites

Z_CELLS, Z_STATES = 0.5, 0.05
VOCABULARY = 6


@pytest.fixture
def config() -> TrialConfig:
    return TrialConfig().with_values({"hidden": 7, "length": 11, "precision": "float64", "batch": 3})


@pytest.fixture
def model(config: TrialConfig) -> Model:
    return Model(config, VOCABULARY, choose(LSTM(), config.precision, "cpu"), torch.device("cpu"))


@pytest.fixture
def rows(model: Model) -> Tensor:
    """Two lanes with parameters away from zero everywhere, the initial state included."""
    rows_KP = torch.stack([model.initial_row(seed) for seed in (1, 2)])
    for view in model.layout.views(rows_KP).values():
        view += 0.3 * torch.randn(view.shape, generator=torch.Generator().manual_seed(4), dtype=view.dtype)
    return rows_KP


@pytest.fixture
def text() -> Tensor:
    return torch.randint(VOCABULARY, (257,), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)


def expected_masks(lanes: int) -> Masks:
    return (
        torch.full((lanes, 1, 1, 1), Z_CELLS, dtype=torch.float64),
        torch.full((lanes, 1, 1, 1), Z_STATES, dtype=torch.float64),
    )


def plain_nll(parameters: dict[str, Tensor], text_N: Tensor) -> list[float]:
    """NLL in nats of every character but the first, read in one piece by the reference cell."""
    p = {name: view[0] for name, view in parameters.items()}
    x_TBD = torch.nn.functional.one_hot(text_N[:-1].long(), VOCABULARY).double().unsqueeze(1)
    sites = Sites(keep_cells=expected_masks(1)[0][0], keep_states=expected_masks(1)[1][0])
    weights = {"w_DG": p["w_VG"], "u_HG": p["u_HG"], "b_G": p["b_G"]}
    state = (p["h0_H"].unsqueeze(0), p["c0_H"].unsqueeze(0))
    h_TBH, _ = LSTM().run(weights, x_TBD, state, sites, training=False).states
    log_p = torch.log_softmax(h_TBH[:, 0] @ p["out_w_HV"] + p["out_b_V"], dim=1)
    return [-float(log_p[t, symbol]) for t, symbol in enumerate(text_N[1:].tolist())]


def bits(nlls: list[float]) -> float:
    return sum(nlls) / len(nlls) / log(2)


def test_chunked_is_the_mean_over_whole_chunks_from_the_initial_state(model: Model, rows: Tensor, text: Tensor) -> None:
    values = evaluate.chunked(model, model.layout.views(rows), expected_masks(2), text)
    for lane, value in enumerate(values):
        parameters = model.layout.views(rows[lane : lane + 1])
        nlls = [n for start in range(0, 23 * 11, 11) for n in plain_nll(parameters, text[start : start + 11])]
        assert len(nlls) == 23 * 10
        assert value == pytest.approx(bits(nlls), rel=1e-12)


def test_chunked_does_not_depend_on_its_batch(
    model: Model, rows: Tensor, text: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = evaluate.chunked(model, model.layout.views(rows), expected_masks(2), text)
    monkeypatch.setattr(evaluate, "CHUNKS", 5)
    by_fives = evaluate.chunked(model, model.layout.views(rows), expected_masks(2), text)
    assert by_fives == pytest.approx(together, rel=1e-13)


def test_stream_is_one_pass_with_the_state_carried(model: Model, rows: Tensor, text: Tensor) -> None:
    values = evaluate.stream(model, model.layout.views(rows), expected_masks(2), text, segments=1)
    for lane, value in enumerate(values):
        nlls = plain_nll(model.layout.views(rows[lane : lane + 1]), text)
        assert len(nlls) == len(text) - 1
        assert value == pytest.approx(bits(nlls), rel=1e-12)


@pytest.mark.parametrize("segments", [1, 5])
def test_stream_does_not_depend_on_its_chunks(model: Model, rows: Tensor, text: Tensor, segments: int) -> None:
    def value(steps: int) -> list[float]:
        views, masks = model.layout.views(rows), expected_masks(2)
        return evaluate.stream(model, views, masks, text, segments=segments, warmup=30, steps=steps)

    whole = value(1000)
    for steps in (1, 7, 100):
        assert value(steps) == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize(
    ("length", "segments", "warmup"), [(257, 4, 30), (257, 3, 10), (250, 7, 0), (12, 5, 1), (2, 1, 9)]
)
def test_each_prediction_of_a_stream_counts_once_after_its_warm_up(
    model: Model, rows: Tensor, text: Tensor, length: int, segments: int, warmup: int
) -> None:
    """Segment s scores `scored` characters that `warmup` characters before them have warmed up, from (h_0, c_0)."""
    text = text[:length]
    values = evaluate.stream(
        model, model.layout.views(rows[:1]), expected_masks(1), text, segments=segments, warmup=warmup
    )
    parameters = model.layout.views(rows[:1])
    warm = warmup if segments > 1 else 0
    scored = -(-(length - 1 - warm) // segments)
    nlls = plain_nll(parameters, text[: warm + scored + 1])
    for s in range(1, segments):
        nlls += plain_nll(parameters, text[s * scored : (s + 1) * scored + warm + 1])[warm:]
    assert len(nlls) == length - 1
    assert values[0] == pytest.approx(bits(nlls), rel=1e-12)


def test_a_warmed_up_stream_is_the_exact_one(model: Model, rows: Tensor) -> None:
    """By default a long text is read in segments: after 1000 characters nothing is left of the initial state."""
    text = torch.randint(VOCABULARY, (6500,), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    views = model.layout.views(rows)
    exact = evaluate.stream(model, views, expected_masks(2), text, segments=1)
    assert evaluate.stream(model, views, expected_masks(2), text) == pytest.approx(exact, rel=1e-12)
    short = evaluate.stream(model, views, expected_masks(2), text, segments=3, warmup=1)
    assert short != pytest.approx(exact, rel=1e-6), "without a warm-up the cold start shows"


@pytest.mark.parametrize("protocol", [evaluate.chunked, evaluate.stream])
def test_no_random_number_and_no_neighbour_matters(
    model: Model, rows: Tensor, text: Tensor, protocol: Callable[..., list[float]]
) -> None:
    torch.manual_seed(1)
    together = protocol(model, model.layout.views(rows), expected_masks(2), text)
    torch.manual_seed(2)
    assert together == protocol(model, model.layout.views(rows), expected_masks(2), text)
    for lane in (0, 1):
        alone = protocol(model, model.layout.views(rows[lane : lane + 1].clone()), expected_masks(1), text)
        assert alone == [together[lane]]
    poisoned = torch.stack([rows[0], torch.full_like(rows[1], torch.nan)])
    assert protocol(model, model.layout.views(poisoned), expected_masks(2), text)[0] == together[0]


def test_evaluation_leaves_no_graph_behind(model: Model, rows: Tensor, text: Tensor) -> None:
    before = rows.clone()
    evaluate.stream(model, model.layout.views(rows), expected_masks(2), text)
    assert torch.equal(rows, before)
    assert not rows.requires_grad
