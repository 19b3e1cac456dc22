"""Adam and its two clips, against the oracles, against PyTorch's Adam, and by their rules."""

import math
from typing import Any

import pytest
import torch

from zoneout_core.config.trial import OptimConfig
from zoneout_core.training.optim import scheduled, update


class Row:
    """One lane's rows and how often it was updated."""

    def __init__(self, weights: list[float] | torch.Tensor) -> None:
        self.weights = torch.as_tensor(weights, dtype=torch.float64).clone()
        self.m, self.v, self.scratch = (torch.zeros_like(self.weights) for _ in range(3))
        self.steps = 0

    def step(self, gradient: list[float] | torch.Tensor, optim: OptimConfig) -> float:
        self.steps += 1
        gradient = torch.as_tensor(gradient, dtype=torch.float64).clone()
        return float(
            update(self.weights, gradient, self.m, self.v, optim, self.steps, self.scratch)
        )


@pytest.fixture
def oracle(oracles: dict[str, Any]) -> dict[str, Any]:
    case: dict[str, Any] = oracles["adam_clip_order"]
    return case


def test_gradient_clip_agrees_with_the_oracle(oracle: dict[str, Any]) -> None:
    row = Row(oracle["theta0"])
    optim = OptimConfig(learning_rate=oracle["lr"], clip="gradient", clip_norm=1.0)
    for gradient, expected in zip(oracle["grads"], oracle["clip_gradient_1"], strict=True):
        row.step(gradient, optim)
        torch.testing.assert_close(
            row.weights, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
        )


def test_update_clip_agrees_with_the_oracle(oracle: dict[str, Any]) -> None:
    """The code-faithful oracle adds eps to the uncorrected root; ours, as the paper of Adam, to the
    corrected one.

    An eps divided by the correction makes them the same formula.
    """
    case = oracle["clip_step_code_faithful"]
    row = Row(oracle["theta0"])
    for step, (gradient, expected) in enumerate(
        zip(oracle["grads"], case["theta"], strict=True), start=1
    ):
        eps = 1e-8 / math.sqrt(1.0 - 0.999**step)
        row.step(
            gradient,
            OptimConfig(
                learning_rate=oracle["lr"], clip="update", clip_norm=case["threshold"], eps=eps
            ),
        )
        torch.testing.assert_close(
            row.weights, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
        )


def test_without_a_clip_it_agrees_with_the_oracle(oracle: dict[str, Any]) -> None:
    for clip in ("gradient", "update"):
        row = Row(oracle["theta0"])
        for gradient, expected in zip(
            oracle["grads"], oracle["torch_epsilon_no_clip"], strict=True
        ):
            row.step(
                gradient, OptimConfig(learning_rate=oracle["lr"], clip=clip, clip_norm=math.inf)
            )
            torch.testing.assert_close(
                row.weights, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
            )


@pytest.mark.parametrize("clip_norm", [0.5, math.inf])
def test_agrees_with_pytorch(clip_norm: float) -> None:
    source = torch.Generator().manual_seed(5)
    start = torch.randn(97, generator=source, dtype=torch.float64)
    row, theirs = Row(start), torch.nn.Parameter(start.clone())
    optim = OptimConfig(learning_rate=0.03, beta1=0.8, beta2=0.95, eps=1e-6, clip_norm=clip_norm)
    adam = torch.optim.Adam([theirs], lr=0.03, betas=(0.8, 0.95), eps=1e-6)
    for _ in range(20):
        gradient = torch.randn(97, generator=source, dtype=torch.float64)
        norm = row.step(gradient, optim)
        theirs.grad = gradient * min(1.0, clip_norm / float(gradient.norm()))
        adam.step()
        assert norm == pytest.approx(float(gradient.norm()), rel=1e-12)
        torch.testing.assert_close(row.weights, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_update_clip_bounds_the_whole_step() -> None:
    """Adam's first step has norm lr * sqrt(P) = 20 here; the bound is 1, and a step that is shorter
    is left alone."""
    source = torch.Generator().manual_seed(6)
    row, free = Row(torch.zeros(10_000)), Row(torch.zeros(10_000))
    lengths = []
    for _ in range(30):
        gradient = torch.randn(10_000, generator=source, dtype=torch.float64)
        before, free_before = row.weights.clone(), free.weights.clone()
        row.step(gradient, OptimConfig(learning_rate=0.02, clip="update", clip_norm=1.0))
        free.step(gradient, OptimConfig(learning_rate=0.02, clip="update", clip_norm=math.inf))
        length, free_length = (
            float((row.weights - before).norm()),
            float((free.weights - free_before).norm()),
        )
        assert length <= 1.0 + 1e-12
        assert length == pytest.approx(min(1.0, free_length), rel=1e-9)
        lengths.append(free_length)
    assert lengths[0] > 1.0 > lengths[-1], "the clip bound at first and then no more"


def test_a_zero_gradient_changes_nothing() -> None:
    for clip in ("gradient", "update"):
        row = Row([1.0, -2.0])
        assert row.step([0.0, 0.0], OptimConfig(clip=clip)) == 0.0
        assert row.weights.tolist() == [1.0, -2.0]


def test_a_norm_that_is_not_finite_is_reported() -> None:
    assert math.isnan(Row([1.0, 2.0]).step([math.nan, 0.0], OptimConfig()))
    assert math.isinf(Row([1.0, 2.0]).step([math.inf, 0.0], OptimConfig()))


def test_rmsprop_agrees_with_the_oracle(oracles: dict[str, Any]) -> None:
    """Blocks' form: the gradient is clipped first, the mean square decays by half, its root has a
    floor."""
    case = oracles["rmsprop_blocks"]
    row = Row(case["theta0"])
    optim = OptimConfig(
        optimizer="rmsprop",
        learning_rate=case["lr"],
        clip_norm=case["clip"],
        decay_rate=case["decay"],
    )
    for gradient, expected in zip(case["grads"], case["theta"], strict=True):
        row.step(gradient, optim)
        torch.testing.assert_close(
            row.weights, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
        )


def test_plain_sgd_with_decoupled_weight_decay() -> None:
    row = Row([1.0, -2.0])
    row.step(
        [3.0, 4.0], OptimConfig(optimizer="sgd", learning_rate=0.1, clip_norm=1.0, weight_decay=0.5)
    )
    torch.testing.assert_close(
        row.weights, torch.tensor([(1.0 - 0.06) / 2, (-2.0 - 0.08) / 2], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("decay_after", "reading"), [(14, "text_reading"), (15, "lua_and_zoneout_code")]
)
def test_the_word_schedule_agrees_with_the_oracle(
    oracles: dict[str, Any], decay_after: int, reading: str
) -> None:
    optim = OptimConfig(
        optimizer="sgd",
        learning_rate=1.0,
        schedule="decay",
        decay_after=decay_after,
        decay_factor=1.15,
    )
    for epoch, expected in oracles["word_ptb_lr_schedule"][reading].items():
        assert scheduled(optim, int(epoch), ()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("factor", "rate"), [(10.0, 0.0), (0.1, float("inf"))])
def test_a_schedule_that_leaves_the_numbers_there_are_raises_nothing(
    factor: float, rate: float
) -> None:
    """One lane's schedule is not the end of its pack."""
    assert scheduled(OptimConfig(schedule="decay", decay_factor=factor), 5000, ()) == rate


def test_a_plateau_divides_after_every_epoch_that_did_not_improve() -> None:
    optim = OptimConfig(learning_rate=1.0, schedule="plateau", decay_factor=50.0)
    rates = [scheduled(optim, 1 + n, (3.0, 2.0, 2.5, 1.0, 1.0)[:n]) for n in range(6)]
    assert rates == pytest.approx([1, 1, 1, 1 / 50, 1 / 50, 1 / 2500])
