"""Gradients through time: against the oracles' dL/dc and dL/dh, and what they must be by
construction."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.zoneout_core import cell_oracles
from zoneout_core.errors import ConfigError
from zoneout_core.tasks import Labelled, get
from zoneout_core.training import propagation
from zoneout_core.training.lane_state import LaneState
from zoneout_core.training.pack import Pack
from zoneout_core.training.propagation import RecordedSteps, norms, recording, shares

STEPS = 12


def norms_of(case: cell_oracles.Case) -> dict[tuple[propagation.Of, str], torch.Tensor]:
    recorded = RecordedSteps()
    names = "hc"[: len(case.state)]
    run = recording(case.cell, recorded).run(case.p, case.x, case.state, case.sites, training=True)
    loss = sum(
        (value * case.loss_weights[name]).sum()
        for name, value in zip(names, run.states, strict=False)
    )
    return norms(loss, recorded, tuple(names))


@pytest.mark.parametrize(
    "name",
    ["lstm_plain", "lstm_zoneout_train", "lstm_naive_cell_dropout_train", "gru_zoneout_train"],
)
def test_total_derivatives_are_the_oracles(oracles: dict[str, Any], name: str) -> None:
    case = cell_oracles.case(oracles, name, torch.float64)
    found = norms_of(case)
    for state in "hc"[: len(case.state)]:
        expected = (
            torch.tensor(case.expected["grads"][f"dL_d{state}"], dtype=torch.float64)
            .norm(dim=-1)
            .mean(dim=-1)
        )
        assert torch.allclose(found["carried", state], expected, rtol=0, atol=1e-12)


def test_of_the_candidate_only_what_was_written_counts(oracles: dict[str, Any]) -> None:
    case = cell_oracles.case(oracles, "lstm_zoneout_train", torch.float64)
    carried = torch.tensor(case.expected["grads"]["dL_dc"], dtype=torch.float64)
    written = 1 - torch.tensor(case.expected["settings"]["mc"], dtype=torch.float64)
    expected = (carried * written).norm(dim=-1).mean(dim=-1)
    assert torch.allclose(norms_of(case)["candidate", "c"], expected, rtol=0, atol=1e-12)


def digits() -> Labelled:
    """Forty sequences whose first number decides the class."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, STEPS), dtype=np.uint8)
    labels = (images[:, 0] > 127).astype(np.uint8)
    arrays = dict.fromkeys(("train", "valid", "test"), images) | dict.fromkeys(
        ("train_labels", "valid_labels", "test_labels"), labels
    )
    return Labelled(name="sequential_mnist", variant="permuted", classes=10, sha256="", **arrays)


def trained(**values: Any) -> LaneState:
    """A lane after one epoch of ten updates."""
    config = get("sequential_mnist").config(
        hidden_size=5, batch_size=4, sequence_length=STEPS, epochs=1, **values
    )
    pack = Pack(config, digits(), capacity=1, device="cpu")
    pack.admit(0, config)
    for _ in range(pack.workload.epoch_updates(config)):
        pack.update()
    return pack.state(0)


def test_shares_sum_to_one_and_the_last_cell_has_none() -> None:
    told = shares(trained(z_cells=0.5), digits(), batches=3)
    found = told["carried"]
    assert set(told) == {"carried", "candidate"}
    assert set(found) == {"h", "c"}
    assert all(len(share) == STEPS for share in found.values())
    assert [sum(share) for share in found.values()] == pytest.approx([1, 1])
    assert found["c"][-1] == 0.0, (
        "nothing reads the last cell but the candidate before it was zoned out"
    )
    assert found["h"][-1] == max(found["h"])


def test_it_is_reproducible_and_its_masks_are_those_of_the_steps() -> None:
    state = trained(z_cells=0.5)
    assert shares(state, digits(), batches=2) == shares(state, digits(), batches=2)
    assert shares(state, digits(), batches=1) != shares(
        replace(state, updates=state.updates + 1), digits(), batches=1
    )


def test_cells_that_are_all_dropped_pass_nothing_back() -> None:
    assert shares(trained(p_cells=1.0), digits(), batches=1)["carried"]["c"] == [0.0] * STEPS


def test_several_layers_are_refused() -> None:
    state = replace(
        trained(),
        config=get("sequential_mnist").config(
            hidden_size=5, batch_size=4, sequence_length=STEPS, num_layers=2
        ),
    )
    with pytest.raises(ConfigError) as told:
        shares(state, digits())
    assert (
        str(told.value)
        == "Gradients through time are those of one layer, but model.num_layers is 2."
    )
