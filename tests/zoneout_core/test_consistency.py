"""Semantic consistency: its gradient against autograd, its lanes, and which solutions it knows
(spec section 7)."""

from pathlib import Path

import pytest
import torch

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.records import EpochRecord, LaneEnd, TrialState
from zoneout_core.training.pack import Pack
from zoneout_core.training.workloads.consistency import Consistency, cost_and_gradient

TASK = tasks.get("semantic_consistency")
DATA = tasks.load_data(TASK.name, "", Path("not there"))


def config(**values: object) -> TrialConfig:
    return TASK.config(**({"epochs": 2, "seed": 3} | values))


def pack_of(*configs: TrialConfig) -> Pack:
    pack = Pack(configs[0], DATA, capacity=len(configs))
    for trial, one in enumerate(configs):
        pack.admit(trial, one)
    return pack


def weights_after(pack: Pack, steps: int, trial: int) -> torch.Tensor:
    for _ in range(steps):
        pack.update()
    return pack.state(trial).weights


def test_cost_and_gradient_are_those_of_the_equations() -> None:
    generator = torch.Generator().manual_seed(1)
    w_UU, x_BU = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (2, 32))
    keep_TU = torch.rand(10, 2, generator=generator) < 0.4
    leaf_UU = w_UU.clone().requires_grad_()
    h_BU = x_BU
    for keep_U in keep_TU.double():
        h_BU = keep_U * h_BU + (1 - keep_U) * (h_BU @ leaf_UU)
    expected = (h_BU - x_BU).square().sum()
    expected.backward()
    cost, gradient_UU = cost_and_gradient(w_UU, x_BU, keep_TU)
    torch.testing.assert_close(cost, expected.detach(), rtol=1e-12, atol=0)
    assert leaf_UU.grad is not None
    torch.testing.assert_close(gradient_UU, leaf_UU.grad, rtol=1e-12, atol=1e-10)


def test_minus_one_is_a_solution_without_zoneout_alone() -> None:
    x_BU, none = torch.randn(32, 2), torch.zeros(10, 2, dtype=torch.bool)
    some = none.clone()
    some[3, 0] = True
    for sign, keep_TU, solved in (
        (-1, none, True),
        (-1, some, False),
        (1, none, True),
        (1, some, True),
    ):
        cost, gradient_UU = cost_and_gradient(sign * torch.eye(2), x_BU, keep_TU)
        assert (cost.item() == 0.0) == solved
        assert (gradient_UU.count_nonzero().item() == 0) == solved


def test_without_zoneout_w_stays_at_minus_one() -> None:
    pack = pack_of(config())
    events = [event for _ in range(2000) for event in pack.update()]
    first, last, end = events
    assert isinstance(last, EpochRecord)
    assert isinstance(end, LaneEnd)
    assert (end.state, end.reason) == (TrialState.COMPLETE, "all 2 epochs")
    assert tuple(last.metrics) == TASK.metrics.epoch
    assert last.metrics["distance_minus"] < 1e-5
    assert last.metrics["distance_plus"] == pytest.approx(8**0.5, abs=1e-5)
    assert [last.metrics[f"w_{i}{j}"] for i in (0, 1) for j in (0, 1)] == pytest.approx(
        [-1, 0, 0, -1], abs=1e-5
    )
    assert isinstance(first, EpochRecord)
    assert last.metrics["train_cost"] < 1e-6 < first.metrics["train_cost"]
    assert last.final is not None
    assert set(last.final) == {*TASK.metrics.final, "best_epoch"}


def test_with_zoneout_w_leaves_minus_one() -> None:
    pack = pack_of(config(z_states=0.1, epochs=1))
    events = [event for _ in range(1000) for event in pack.update()]
    assert isinstance(events[0], EpochRecord)
    assert (
        40 < events[0].metrics["train_cost"] < 110
    )  # spec: 60 to 110, on a plateau at 62 to 64 later
    assert events[0].metrics["distance_minus"] > 0.1


def test_a_step_of_sgd_follows_the_gradient_of_the_drawn_examples() -> None:
    pack = pack_of(config(z_states=0.5))
    before = pack.state(0).weights
    lane = pack._lanes[0]
    assert isinstance(pack.workload, Consistency)
    x_BU, keep_TU = pack.workload._draw(lane)
    assert x_BU.shape == (32, 2)
    assert keep_TU.shape == (10, 2), "one mask for the whole batch"
    _, gradient_UU = cost_and_gradient(before[:4].view(2, 2), x_BU, keep_TU)
    assert gradient_UU.norm() > 1, "it is not clipped"
    lane.updates = 1
    for now, then in zip(pack.workload._draw(lane), (x_BU, keep_TU), strict=True):
        assert not torch.equal(now, then), "every update draws anew"
    lane.updates = 0
    pack.update()
    torch.testing.assert_close(
        pack.state(0).weights[:4].view(2, 2), before[:4].view(2, 2) - 1e-4 * gradient_UU
    )


def test_a_lane_does_not_depend_on_its_neighbours() -> None:
    configs = [config(z_states=z, seed=seed, learning_rate=rate) for z, seed, rate in ZS]
    for trial, one in enumerate(configs):
        together, alone = pack_of(*configs), pack_of(one)
        assert torch.equal(weights_after(together, 40, trial), weights_after(alone, 40, 0))


ZS = [(0.1, 3, 1e-4), (0.0, 3, 1e-4), (0.5, 4, 2e-4)]


def test_a_lane_goes_on_from_its_state() -> None:
    pack = pack_of(config(z_states=0.3))
    weights_after(pack, 25, 0)
    state = pack.state(0)
    again = Pack(state.config, DATA, capacity=1)
    again.admit(0, state.config, state)
    assert torch.equal(weights_after(again, 20, 0), weights_after(pack, 20, 0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"hidden_size": 3},
            "model.hidden_size must be 2 with task=semantic_consistency, but is 3. Set it with --set model.hidden_size=VALUE.",
        ),
        (
            {"z_cells": 0.5},
            "regularizer.zoneout.z_cells must be 0 with task=semantic_consistency, whose zoneout is z_states, but is 0.5. "
            "Set it with --set regularizer.zoneout.z_cells=VALUE.",
        ),
        (
            {"sigma_weights": 0.1},
            "Task semantic_consistency must have no regularizer but zoneout of its states, but has WeightNoise. "
            "Leave its settings at their defaults.",
        ),
        (
            {"train_fraction": 0.5},
            "train_fraction must be 1 with task=semantic_consistency, which draws its examples, but is 0.5. "
            "Set it with --set train_fraction=VALUE.",
        ),
    ],
)
def test_what_it_cannot_be_is_told(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        pack_of(config(**values))
    assert str(error.value) == message
