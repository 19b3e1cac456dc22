"""The actor around a lane server, without Ray: what its clients hear when its training thread
breaks."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sweeps.drivers.lane_actor import TRAINING, LaneActor
from sweeps.serving.lane_server import ServerOptions
from tests.sweeps.driven import tiny


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # it is what the test provokes
def test_a_broken_training_thread_is_told_to_every_client(tmp_path: Path) -> None:
    actor = LaneActor(
        ServerOptions(lanes=1, device="cpu", threads=1, data=tmp_path, checkpoints=tmp_path)
    )
    actor.ready()
    actor.submit(0, tiny().trial_config({}).to_json())
    inbox: Any = actor._get()._inbox
    inbox.append(())  # no client of ours leaves this
    with pytest.raises(RuntimeError, match="The lane server stopped training: AssertionError"):
        poll(actor, seconds=20)
    for thread in threading.enumerate():
        if thread.name == TRAINING:  # its last words are this test's, not the next one's
            thread.join(20)


def poll(actor: LaneActor, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        actor.next(0, 0.1)
