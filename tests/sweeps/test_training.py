"""What a lane server trains with: where trials go on, and what stays of a trial that is complete."""

from pathlib import Path
from typing import Any

import torch

from sweeps.lane_server import LaneServer
from sweeps.training import pack_builder
from tests.sweeps.driven import tiny
from zoneout_core import checkpoint
from zoneout_core.config import TrialConfig

CONFIG = tiny().trial_config({"regularizer.z_cells": 0.25})


def told(checkpoints: Path, config: TrialConfig = CONFIG) -> list[dict[str, Any]]:
    """All events of trial 0 on a new server, to its end, without what differs from time to time."""
    server = LaneServer(pack_builder(checkpoints, checkpoints, "cpu", 1), lanes=2)
    server.submit(0, config.to_json())
    events: list[dict[str, Any]] = []
    while not events or events[-1]["event"] != "end":
        server.advance()
        events += server.next(0)
    return [{key: value for key, value in event.items() if key not in ("time", "seconds")} for event in events]


def test_a_complete_trial_leaves_its_weights_its_best_ones_and_its_records(tmp_path: Path) -> None:
    events = told(tmp_path)
    state = checkpoint.load(tmp_path / "00000")
    assert state is not None
    assert state.config == CONFIG
    assert [record.metrics for record in state.records] == [e["metrics"] for e in events if e["event"] == "record"]
    assert state.records[-1].final == events[-2]["final"]
    assert state.best is not None
    assert torch.equal(state.best, state.weights)  # so short a training ends at its best


def test_a_complete_trial_that_is_submitted_again_tells_everything_and_trains_nothing(tmp_path: Path) -> None:
    events = told(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert told(tmp_path) == events
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    told(tmp_path)
    end = told(tmp_path, CONFIG.with_values({"seed": 5}))[-1]
    assert end["state"] == "failed"
    assert end["reason"] == (
        f"CheckpointError: Trial 0 must go on from a checkpoint of its own configuration, but {tmp_path}/00000 holds "
        "another's. Remove that folder, and the trial begins anew."
    )
