"""Both evaluation protocols against a plain loop over the reference cell, and what they may not
depend on."""

from collections.abc import Callable
from math import inf

import pytest
import torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.kernels import choose
from zoneout_core.masking.sites import Sites
from zoneout_core.network.init import InitialDraw
from zoneout_core.network.layout import Layout
from zoneout_core.network.network import Network
from zoneout_core.network.network_sites import NetworkSites
from zoneout_core.network.output_layer import output_product
from zoneout_core.training import evaluate, one_pass
from zoneout_core.training.evaluate import Reader

Z_CELLS, Z_STATES = 0.5, 0.05
VOCABULARY, LENGTH = 6, 11
CONFIG = TrialConfig().with_values(
    {"hidden_size": 7, "sequence_length": LENGTH, "precision": "float64", "batch_size": 3}
)
NETWORK = Network(CONFIG, VOCABULARY, VOCABULARY)
LAYOUT = Layout(NETWORK.trained())


@pytest.fixture
def rows() -> Tensor:
    """Two lanes with parameters away from zero everywhere, the initial state included."""
    drawn = [
        LAYOUT.row(NETWORK.initial(InitialDraw(CONFIG.model, seed)), torch.float64)
        for seed in (1, 2)
    ]
    rows_KP = torch.stack(drawn)
    for view in LAYOUT.views(rows_KP).values():
        view += 0.3 * torch.randn(
            view.shape, generator=torch.Generator().manual_seed(4), dtype=view.dtype
        )
    return rows_KP


@pytest.fixture
def text() -> Tensor:
    return torch.randint(
        VOCABULARY, (257,), generator=torch.Generator().manual_seed(9), dtype=torch.uint8
    )


def sites(*shape: int) -> Sites:
    cells, states = (
        torch.full((*shape, 1, 1, 1), z, dtype=torch.float64) for z in (Z_CELLS, Z_STATES)
    )
    return Sites(keep_cells=cells, keep_states=states)


def reader(rows_KP: Tensor) -> Reader:
    return Reader(
        network=NETWORK,
        p=LAYOUT.views(rows_KP),
        expected=lambda _: NetworkSites(layers=(sites(len(rows_KP)),)),
        choice=choose(NETWORK.cell, CONFIG.precision, "cpu", ("keep_cells", "keep_states")),
        product=output_product(CONFIG, torch.device("cpu")),
    )


def plain_nll(parameters: dict[str, Tensor], text_N: Tensor) -> list[float]:
    """NLL in nats of every character but the first, read in one piece by the cell as its equations
    are written."""
    p = {name: view[0] for name, view in parameters.items()}
    x_TBD = torch.nn.functional.one_hot(text_N[:-1].long(), VOCABULARY).double().unsqueeze(1)
    state = (p["h0_H"].unsqueeze(0), p["c0_H"].unsqueeze(0))
    h_TBH = NETWORK.cell.run(p, x_TBD, state, sites(), training=False).states[0]
    log_p = torch.log_softmax(h_TBH[:, 0] @ p["out_w_HV"] + p["out_b_V"], dim=1)
    return [-float(log_p[t, symbol]) for t, symbol in enumerate(text_N[1:].tolist())]


def chunked(reader: Reader, text_N: Tensor) -> list[float]:
    return evaluate.chunked(reader, text_N, LENGTH)


def stream(reader: Reader, text_N: Tensor, **how: int) -> list[float]:
    return [score.nats for score in one_pass.stream(reader, text_N, **how)]


def trust_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("STATE_TOLERANCE", "SCORE_TOLERANCE"):
        monkeypatch.setattr(one_pass, limit, inf)


def mean(nlls: list[float]) -> float:
    return sum(nlls) / len(nlls)


def test_chunked_is_the_mean_over_whole_chunks_from_the_initial_state(
    rows: Tensor, text: Tensor
) -> None:
    values = chunked(reader(rows), text)
    for lane, value in enumerate(values):
        parameters = LAYOUT.views(rows[lane : lane + 1])
        nlls = [
            n
            for start in range(0, 23 * 11, 11)
            for n in plain_nll(parameters, text[start : start + 11])
        ]
        assert len(nlls) == 23 * 10
        assert value == pytest.approx(mean(nlls), rel=1e-12)


def test_chunked_does_not_depend_on_its_batch(
    rows: Tensor, text: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = chunked(reader(rows), text)
    monkeypatch.setattr(evaluate, "CHUNKS", 5)
    by_fives = chunked(reader(rows), text)
    assert by_fives == pytest.approx(together, rel=1e-13)


def test_stream_is_one_pass_with_the_state_carried(rows: Tensor, text: Tensor) -> None:
    values = stream(reader(rows), text, segments=1)
    for lane, value in enumerate(values):
        nlls = plain_nll(LAYOUT.views(rows[lane : lane + 1]), text)
        assert len(nlls) == len(text) - 1
        assert value == pytest.approx(mean(nlls), rel=1e-12)


@pytest.mark.parametrize("segments", [1, 5])
def test_stream_does_not_depend_on_its_chunks(rows: Tensor, text: Tensor, segments: int) -> None:
    def value(steps: int) -> list[float]:
        return stream(reader(rows), text, segments=segments, warmup=30, steps=steps)

    whole = value(1000)
    for steps in (1, 7, 100):
        assert value(steps) == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize(
    ("length", "segments", "warmup"),
    [(257, 4, 30), (257, 3, 10), (250, 7, 0), (12, 5, 1), (2, 1, 9)],
)
def test_each_prediction_of_a_stream_counts_once_after_its_warm_up(
    rows: Tensor,
    text: Tensor,
    length: int,
    segments: int,
    warmup: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Segment s scores `scored` characters that `warmup` characters before them have warmed up,
    from (h_0, c_0)."""
    trust_the_warm_up(monkeypatch)
    text = text[:length]
    values = stream(reader(rows[:1]), text, segments=segments, warmup=warmup)
    parameters = LAYOUT.views(rows[:1])
    warm = warmup if segments > 1 else 0
    scored = -(-(length - 1 - warm) // segments)
    nlls = plain_nll(parameters, text[: warm + scored + 1])
    for s in range(1, segments):
        nlls += plain_nll(parameters, text[s * scored : (s + 1) * scored + warm + 1])[warm:]
    assert len(nlls) == length - 1
    assert values[0] == pytest.approx(mean(nlls), rel=1e-12)


def test_a_warmed_up_stream_is_the_exact_one(rows: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a long text is read in segments: after 1000 characters nothing is left of the
    initial state."""
    text = torch.randint(
        VOCABULARY, (6500,), generator=torch.Generator().manual_seed(2), dtype=torch.uint8
    )
    exact = stream(reader(rows), text, segments=1)
    assert stream(reader(rows), text) == pytest.approx(exact, rel=1e-12)
    trust_the_warm_up(monkeypatch)
    short = stream(reader(rows), text, segments=3, warmup=1)
    assert short != pytest.approx(exact, rel=1e-6), "without a warm-up the cold start shows"


@pytest.mark.parametrize("protocol", [chunked, stream])
def test_no_random_number_and_no_neighbour_matters(
    rows: Tensor, text: Tensor, protocol: Callable[..., list[float]]
) -> None:
    torch.manual_seed(1)
    together = protocol(reader(rows), text)
    torch.manual_seed(2)
    assert together == protocol(reader(rows), text)
    for lane in (0, 1):
        alone = protocol(reader(rows[lane : lane + 1].clone()), text)
        assert alone == [together[lane]]
    poisoned = torch.stack([rows[0], torch.full_like(rows[1], torch.nan)])
    assert protocol(reader(poisoned), text)[0] == together[0]


def test_evaluation_leaves_no_graph_behind(rows: Tensor, text: Tensor) -> None:
    before = rows.clone()
    stream(reader(rows), text)
    assert torch.equal(rows, before)
    assert not rows.requires_grad
