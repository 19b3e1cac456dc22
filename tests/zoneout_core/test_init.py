"""Initial parameters: orthogonal where they should be, of the scale the paper's code has, the same
for one seed."""

from math import prod

import pytest
import torch

from zoneout_core.config.trial import ModelConfig, TrialConfig
from zoneout_core.masking import streams
from zoneout_core.network import init
from zoneout_core.network.init import InitialDraw
from zoneout_core.network.network import Network


def eye_error(matrix: torch.Tensor) -> float:
    """Largest entry of M M^T - I, over the shorter side."""
    m = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float((m @ m.T - torch.eye(len(m), dtype=m.dtype)).abs().max())


def initial(vocabulary: int, seed: int = 0, **model: object) -> dict[str, torch.Tensor]:
    """The parameters of a character model."""
    config = TrialConfig().with_values(model)
    return Network(config, vocabulary, vocabulary).initial(InitialDraw(config.model, seed))


def generator() -> torch.Generator:
    return streams.generator(3, "init", counter=0)


@pytest.mark.parametrize(
    ("rows", "columns"), [(40, 160), (10, 160), (40, 10), (27, 64), (64, 27), (7, 7)]
)
def test_blocks_are_independent_orthogonal_squares_and_the_last_is_cut(
    rows: int, columns: int
) -> None:
    matrix = init.blocks(rows, columns, generator())
    assert matrix.shape == (rows, columns)
    k = min(rows, columns)
    parts = matrix.split(k, dim=0 if rows > columns else 1)
    assert len(parts) == -(-max(rows, columns) // k)
    for part in parts:
        assert eye_error(part) < 1e-12
    if len(parts) > 1:
        assert not torch.allclose(parts[0][: len(parts[1]), : parts[1].shape[1]], parts[1])


@pytest.mark.parametrize(("rows", "columns"), [(10, 160), (40, 10), (7, 7)])
def test_whole_is_one_matrix_with_an_orthonormal_shorter_side(rows: int, columns: int) -> None:
    matrix = init.orthogonal(rows, columns, generator())
    assert matrix.shape == (rows, columns)
    assert eye_error(matrix) < 1e-12


def test_orthogonal_matrices_have_no_preferred_sign() -> None:
    """QR alone gives a diagonal of one sign; a uniform orthogonal matrix has none."""
    source = generator()
    signs = torch.stack([init.orthogonal(4, 4, source).diagonal().sign() for _ in range(300)]).mean(
        0
    )
    assert float(signs.abs().max()) < 0.2


def test_uniform_stays_within_its_width() -> None:
    matrix = init.uniform(50, 400, generator())
    assert float(matrix.abs().max()) <= 0.1
    assert float(matrix.std()) == pytest.approx(0.2 / 12**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "deviations"),
    [
        ("blocks", {"w_DG": 0.1414, "u_HG": 0.0316, "out_w_HV": 0.1414}),
        ("orthogonal", {"w_DG": 0.0158, "u_HG": 0.0158, "out_w_HV": 0.0316}),
    ],
)
def test_scale_and_count_of_the_papers_network(kind: str, deviations: dict[str, float]) -> None:
    """Entry standard deviations and the 4,256,050 parameters of spec section 2.3, at H = 1000 and V
    = 50."""
    parameters = initial(50, hidden_size=1000, init=kind)
    assert sum(prod(p.shape) for p in parameters.values()) == 4_256_050
    for name, deviation in deviations.items():
        assert float(parameters[name].std()) == pytest.approx(deviation, rel=0.01)


def test_identity_gives_the_candidate_the_identity_and_the_gates_orthonormal_columns() -> None:
    """RBN's scripts (spec section 5): gates i, f, o are one orthonormal block, g the identity."""
    u_HG = initial(10, hidden_size=6, init="identity")["u_HG"]
    assert torch.equal(u_HG[:, 18:], torch.eye(6, dtype=torch.float64))
    assert eye_error(u_HG[:, :18]) < 1e-12
    assert eye_error(initial(10, hidden_size=6, init="identity")["w_DG"]) < 1e-12


def test_word_models_are_uniform_everywhere() -> None:
    """Spec section 3: every parameter, biases included, within its width; no forget bias."""
    settings = {"init": "uniform", "init_width": 0.04, "init_biases": "uniform", "forget_bias": 0.0}
    parameters = initial(
        30, hidden_size=20, num_layers=2, embedding_size=20, init_state="zero", **settings
    )
    for name, value in parameters.items():
        assert 0.03 < float(value.abs().max()) <= 0.04, name


def test_biases_are_zero_but_for_the_forget_gate() -> None:
    b_G = initial(5, hidden_size=8, forget_bias=1.5)["b_G"]
    assert b_G.tolist() == [0.0] * 8 + [1.5] * 8 + [0.0] * 16


def test_initial_state_is_a_zero_parameter_or_none() -> None:
    trainable = initial(5, hidden_size=8)
    assert trainable["h0_H"].tolist() == trainable["c0_H"].tolist() == [0.0] * 8
    assert set(trainable) - set(initial(5, hidden_size=8, init_state="zero")) == {"h0_H", "c0_H"}


def test_the_seed_and_the_restart_decide() -> None:
    def weights(seed: int, restart: int = 0) -> torch.Tensor:
        return InitialDraw(ModelConfig(hidden_size=8), seed, restart).matrix(8, 32)

    torch.manual_seed(1)
    first = weights(7)
    torch.manual_seed(2)
    assert torch.equal(first, weights(7))
    assert not torch.equal(first, weights(8))
    assert not torch.equal(first, weights(7, restart=1))
