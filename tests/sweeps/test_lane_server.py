"""A lane server with real packs: messages, lanes that are refilled at once, credit, leases, and
errors of one trial."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sweeps.books.events import LaneEvent, RecordEvent, WarningEvent
from sweeps.serving.lane_server import AHEAD, LaneServer, ServerOptions, build_server
from tests.sweeps.driven import tiny
from tests.sweeps.journals import kind
from zoneout_core.config.trial import TrialConfig

BASE = tiny().base.with_values({"epochs": 5, "train_fraction": 0.02})
UPDATES = 3
"""Of an epoch."""


def config(trial: int, **values: Any) -> TrialConfig:
    return BASE.with_values({"seed": trial, "regularizer.zoneout.z_cells": 0.1 * trial} | values)


class Desk:
    """A server, and clients that read what it tells."""

    def __init__(
        self, checkpoints: Path, lanes: int = 2, lease_seconds: float = float("inf"), **options: Any
    ) -> None:
        self.server: LaneServer = build_server(
            ServerOptions(
                lanes=lanes,
                device="cpu",
                threads=1,
                data=Path(),
                checkpoints=checkpoints,
                **options,
            ),
            lease_seconds,
        )
        self.told: dict[int, list[LaneEvent]] = {}

    def submit(self, *trials: int, **values: Any) -> None:
        for trial in trials:
            self.server.submit(trial, config(trial, **values).to_json())

    def read(self) -> None:
        for trial in self.server.trials:
            self.told.setdefault(trial, []).extend(self.server.next(trial) or ())

    def until(self, done: Callable[[], bool], advances: int = 200) -> None:
        """Train and read until it is so."""
        for _ in range(advances):
            if done():
                return
            self.server.advance()
            self.read()
        raise AssertionError(f"not after {advances} updates: {self.told}")

    def ended(self, *trials: int) -> bool:
        return all(kinds(self.told.get(trial, ()))[-1:] == ["end"] for trial in trials)

    def epochs(self, trial: int) -> int:
        return kinds(self.told.get(trial, [])).count("record")


def kinds(events: Any) -> list[str]:
    return [kind(event) for event in events]


def numbers(events: list[LaneEvent]) -> list[dict[str, Any]]:
    """What must not depend on anything but the trial."""
    dull = ("time", "seconds", "lanes")
    plain = [msgspec.to_builtins(event) for event in events]
    return [{key: value for key, value in event.items() if key not in dull} for event in plain]


def alone(folder: Path, trial: int, **values: Any) -> list[dict[str, Any]]:
    """The numbers of a trial that trains by itself, with other checkpoints."""
    desk = Desk(folder.with_name(f"alone{trial}"), lanes=1)
    desk.submit(trial, **values)
    desk.until(lambda: desk.ended(trial))
    return numbers(desk.told[trial])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_a_trial_is_told_from_its_placement_to_its_end(folder: Path) -> None:
    desk = Desk(folder)
    assert desk.server.next(0) is None, "nobody knows it yet"
    desk.submit(0)
    assert desk.server.next(0) == []
    desk.until(lambda: desk.ended(0))
    assert kinds(desk.told[0]) == ["placed", *["record"] * 5, "end"]
    placed, *records, end = desk.told[0]
    assert (placed.device, placed.threads, placed.lanes) == ("cpu", 1, 2)
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5]
    assert [record.final is not None for record in records] == [False] * 4 + [True]
    assert (end.state, end.reason) == ("complete", "all 5 epochs")
    assert not desk.server.advance(), "there is nothing left to train"


def test_submitting_again_tells_everything_again_and_trains_nothing_twice(folder: Path) -> None:
    desk = Desk(folder)
    desk.submit(0)
    desk.until(lambda: desk.epochs(0) == 2)
    before = list(desk.told[0])
    desk.submit(0)
    desk.submit(0)
    desk.until(lambda: len(desk.told[0]) > len(before))
    assert desk.told[0][: 2 * len(before)] == before * 2
    desk.until(lambda: desk.ended(0))
    assert [event.epoch for event in desk.told[0] if isinstance(event, RecordEvent)] == [
        1,
        2,
        1,
        2,
        3,
        4,
        5,
    ]
    whole = before + desk.told[0][2 * len(before) :]
    desk.submit(0)  # the client died before it had passed on the end
    desk.told.clear()
    desk.until(lambda: desk.ended(0))
    assert desk.told[0] == whole


def test_a_waiting_trial_gets_a_lane_with_the_next_update_after_one_is_released(
    folder: Path,
) -> None:
    desk = Desk(folder)
    desk.submit(0, 1, 2)
    desk.until(lambda: desk.epochs(0) == 1)
    assert desk.told[2] == []
    desk.server.release(0)
    desk.server.advance()
    desk.read()
    assert kinds(desk.told[2]) == ["placed"]
    assert desk.server.next(0) is None
    assert desk.server.trials == [1, 2]
    desk.server.release(0)  # of a trial that is gone: none of our business
    desk.server.advance()
    assert desk.server.trials == [1, 2]


def test_a_lane_that_ends_by_itself_is_refilled_without_being_released(folder: Path) -> None:
    desk = Desk(folder, lanes=1)
    desk.submit(0, 1)
    desk.until(lambda: desk.ended(0, 1))
    assert numbers(desk.told[1]) == alone(folder, 1)


def test_a_pack_runs_a_few_epochs_ahead_of_its_slowest_client_and_no_further(folder: Path) -> None:
    desk = Desk(folder)
    desk.submit(0, 1)
    updates = sum(desk.server.advance() for _ in range(20))
    assert updates == AHEAD * UPDATES
    assert desk.server.next(0)
    assert not desk.server.advance(), "the other client has not read"
    assert kinds(desk.server.next(1)) == ["placed", *["record"] * AHEAD]
    assert desk.server.advance()


def test_a_client_that_asks_no_more_loses_its_lane_and_hears_so(folder: Path) -> None:
    desk = Desk(folder, lanes=1, lease_seconds=0.5)
    desk.submit(0, 1)
    desk.until(lambda: desk.epochs(0) == 1)
    before = numbers(desk.told[0])
    begun = time.monotonic()
    while kinds(desk.server.next(1) or ()) != ["placed"]:
        desk.server.advance()
        assert time.monotonic() - begun < 10
    assert desk.server.next(0) is None
    desk.server.release(1)
    desk.told.clear()
    desk.submit(
        0
    )  # it was slow, not dead: it goes on from its checkpoint and tells everything again
    desk.until(lambda: desk.epochs(0) >= 2)
    assert numbers(desk.told[0])[: len(before)] == before


def test_waiting_for_news_ends_with_them_or_with_patience(folder: Path) -> None:
    desk = Desk(folder)
    desk.submit(0)
    begun = time.monotonic()
    assert desk.server.next(0, 0.2) == []
    assert 0.2 <= time.monotonic() - begun < 5
    desk.server.advance()
    begun = time.monotonic()
    assert kinds(desk.server.next(0, 30.0)) == ["placed"]
    assert time.monotonic() - begun < 5


def test_a_client_that_died_waiting_takes_nothing_from_the_one_that_follows_it(
    folder: Path,
) -> None:
    desk = Desk(folder)
    desk.submit(0)
    desk.until(lambda: desk.epochs(0) == 1)
    stolen: list[LaneEvent] = []
    dead = threading.Thread(target=lambda: stolen.extend(desk.server.next(0, 30.0) or ()))
    dead.start()
    time.sleep(0.2)
    desk.submit(0)
    desk.told.clear()
    desk.until(lambda: desk.ended(0))
    dead.join(5)
    assert stolen == []
    assert numbers(desk.told[0]) == alone(folder, 0)


def test_what_a_dead_client_left_unread_comes_in_its_order(folder: Path) -> None:
    desk = Desk(folder)
    desk.submit(0)
    desk.until(lambda: desk.epochs(0) == 1)
    for _ in range(AHEAD * UPDATES):
        desk.server.advance()
    desk.submit(0)
    assert desk.server.next(0) == []
    desk.told.clear()
    desk.until(lambda: desk.ended(0))
    assert numbers(desk.told[0]) == alone(folder, 0)


def test_two_shapes_side_by_side_are_what_they_are_alone(folder: Path) -> None:
    desk = Desk(folder, lanes=3)
    desk.submit(0, 1)
    desk.submit(2, hidden_size=9)
    desk.until(lambda: desk.ended(0, 1, 2))
    for trial, values in ((0, {}), (2, {"hidden_size": 9})):
        assert numbers(desk.told[trial]) == alone(folder, trial, **values)


@pytest.mark.parametrize("checkpoint_epochs", [1, 3])
def test_a_server_that_died_is_followed_by_one_that_goes_on_from_the_checkpoints(
    folder: Path, checkpoint_epochs: int
) -> None:
    whole = Desk(folder.with_name("whole"))
    whole.submit(0, 1)
    whole.until(lambda: whole.ended(0, 1))
    first = Desk(folder, checkpoint_epochs=checkpoint_epochs)
    first.submit(0, 1)
    first.until(lambda: first.epochs(0) == 4)
    second = Desk(folder, checkpoint_epochs=checkpoint_epochs)
    assert second.server.next(0) is None
    second.submit(0, 1)
    updates = 0
    while not second.ended(0, 1):
        updates += second.server.advance()
        second.read()
    assert updates <= UPDATES * (5 - 4 // checkpoint_epochs * checkpoint_epochs)
    assert {trial: numbers(told) for trial, told in second.told.items()} == {
        trial: numbers(told) for trial, told in whole.told.items()
    }


def test_a_trial_that_cannot_begin_fails_alone(folder: Path) -> None:
    desk = Desk(folder, lanes=3)
    desk.submit(0)
    desk.server.submit(1, config(1).to_json() | {"batch_size": "many"})
    desk.submit(2, sequence_length=20_000)
    desk.until(lambda: desk.ended(0, 1, 2))
    assert kinds(desk.told[0]) == ["placed", *["record"] * 5, "end"]
    assert desk.told[0][-1].state == "complete"
    assert desk.told[1][-1].state == "failed"
    assert desk.told[1][-1].reason.startswith(
        "ConfigError: batch_size must be a whole number, but is 'many'."
    )
    assert desk.told[2][-1].state == "failed"
    assert desk.told[2][-1].reason.startswith("ConfigError: sequence_length must be at most")
    desk.submit(2)
    desk.until(lambda: kinds(desk.told[2]).count("end") == 2)
    assert desk.told[2][-1] == desk.told[2][-2], "it is told again, and tried once"


def test_a_diverged_trial_fails_with_its_reason_and_its_neighbour_keeps_every_bit(
    folder: Path,
) -> None:
    desk = Desk(folder)
    desk.submit(0)
    desk.submit(1, learning_rate=1e30)
    desk.until(lambda: desk.ended(0, 1))
    end = desk.told[1][-1]
    assert end.state == "failed"
    assert end.reason.startswith("diverged: ")
    assert numbers(desk.told[0]) == alone(folder, 0)


def test_a_checkpoint_that_cannot_be_written_is_warned_of_and_training_goes_on(
    folder: Path,
) -> None:
    (folder / "00000" / "lane.json.tmp").mkdir(parents=True)
    desk = Desk(folder)
    desk.submit(0, 1)
    desk.until(lambda: desk.ended(0, 1))
    assert desk.told[0][-1].state == "complete"
    assert "warning" not in kinds(desk.told[1])
    warning = next(event for event in desk.told[0] if isinstance(event, WarningEvent))
    assert warning.trial == 0
    assert warning.text.startswith(
        f"The checkpoint in {folder}/00000 could not be written (Is a directory): it needs "
    )
