"""What a lane server trains with: where trials go on, and what stays of a trial that is
complete."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from sweeps.books.events import EndEvent, LaneEvent, RecordEvent, WarningEvent
from sweeps.serving.lane_server import LaneServer
from sweeps.serving.pack_trainer import pack_builder
from tests.sweeps.driven import tiny
from tests.sweeps.journals import kind
from zoneout_core.config.trial import TrialConfig
from zoneout_core.training import checkpoint

CONFIG = tiny().trial_config({"regularizer.zoneout.z_cells": 0.25})
LONGER = CONFIG.with_values({"epochs": 4})


def told(checkpoints: Path, config: TrialConfig = CONFIG) -> list[LaneEvent]:
    """All events of trial 0 on a new server, to its end, without what differs from time to time."""
    server = LaneServer(pack_builder(checkpoints, checkpoints, "cpu", 1), lanes=2)
    server.submit(0, config.to_json())
    events: list[LaneEvent] = []
    while not events or not isinstance(events[-1], EndEvent):
        server.advance()
        events += server.next(0)
    return [
        replace(event, seconds=0.0) if isinstance(event, RecordEvent) else event for event in events
    ]


def test_a_complete_trial_leaves_its_weights_its_best_ones_and_its_records(tmp_path: Path) -> None:
    events = told(tmp_path)
    state = checkpoint.load(tmp_path / "00000")
    assert state is not None
    assert state.config == CONFIG
    assert [record.metrics for record in state.records] == [
        event.metrics for event in events if isinstance(event, RecordEvent)
    ]
    assert state.records[-1].final == events[-2].final
    assert state.best is not None
    assert torch.equal(state.best, state.weights)  # so short a training ends at its best


def test_a_complete_trial_that_is_submitted_again_tells_everything_and_trains_nothing(
    tmp_path: Path,
) -> None:
    events = told(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert told(tmp_path) == events
    assert {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()
    } == files


def warned(events: list[LaneEvent]) -> tuple[list[str], list[LaneEvent]]:
    """What was warned of, and all other events."""
    texts = [event.text for event in events if isinstance(event, WarningEvent)]
    return texts, [event for event in events if not isinstance(event, WarningEvent)]


def test_a_checkpoint_of_another_configuration_is_said_and_not_used(tmp_path: Path) -> None:
    other = CONFIG.with_values({"seed": 5})
    expected = told(tmp_path / "elsewhere", other)
    told(tmp_path)
    texts, events = warned(told(tmp_path, other))
    assert events == expected
    assert texts == [
        "Trial 0 begins anew, to the same numbers: The checkpoint of trial 0 must be of its own configuration, but is "
        "of trial 0 with another seed."
    ]
    assert told(tmp_path, other) == expected, "its own has taken the other's place"


def test_a_checkpoint_whose_rows_do_not_fit_is_said_and_not_used(tmp_path: Path) -> None:
    """As one of a version whose networks had other parameters; one number would fill a whole row
    without a word."""
    expected = told(tmp_path / "elsewhere")
    told(tmp_path)
    state = checkpoint.load(tmp_path / "00000")
    assert state is not None
    (tmp_path / "00000" / "lane.json").unlink()
    state.weights, state.records = state.weights[:1], []
    checkpoint.save(tmp_path / "00000", state)
    texts, events = warned(told(tmp_path))
    assert events == expected
    assert texts[0].startswith(
        "Trial 0 begins anew, to the same numbers: The rows of the checkpoint of trial 0 must be "
    )


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a trial after its third epoch of four, and of its second."""
    folder = tmp_path_factory.mktemp("halfway")
    server = LaneServer(pack_builder(folder, folder, "cpu", 1), lanes=2)
    server.submit(0, LONGER.to_json())
    told: list[str] = []
    while told.count("record") < 3:
        server.advance()
        told += [kind(event) for event in server.next(0) or ()]
    return folder


def damaged(halfway: Path, folder: Path, *names: str) -> tuple[list[str], list[LaneEvent]]:
    """What is told after damage to these files; one that is named `tensors` is the newest's."""
    shutil.copytree(halfway, folder)
    tensors = json.loads((folder / "00000" / "lane.json").read_text())["tensors"]
    for name in names:
        path = folder / "00000" / (tensors if name == "tensors" else name)
        path.write_bytes(path.read_bytes()[:-50] + bytes(range(50)))
    return warned(told(folder, LONGER))


@pytest.mark.parametrize(
    ("names", "where"),
    [
        ([], ""),
        (["lane-before.json"], ""),
        (["lane.json"], "goes on after epoch 2"),
        (["tensors"], "goes on after epoch 2"),
        (["tensors", "lane-before.json"], "begins anew"),
    ],
)
def test_a_damaged_checkpoint_is_said_and_costs_epochs_but_no_number(
    halfway: Path, tmp_path: Path, names: list[str], where: str
) -> None:
    texts, events = damaged(halfway, tmp_path / "damaged", *names)
    assert events == told(tmp_path / "whole", LONGER)
    assert len(texts) == bool(where)
    for text in texts:
        assert text.startswith(
            f"Trial 0 {where}, to the same numbers: {tmp_path}/damaged/00000/lane"
        )
        assert text.count(" is damaged: expected ") == len(names)
