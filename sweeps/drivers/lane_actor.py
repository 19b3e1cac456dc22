"""A lane server as a Ray actor: one per device, found by its name, with the training loop in a
thread of its own."""

import os
import threading
import time
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.books.events import LaneEvent
from sweeps.serving.lane_server import LaneServer, ServerOptions, build_server

NAMESPACE = "zoneout-sweeps"
TRAINING = "training"
"""Name of the training thread."""
IDLE_SECONDS = 0.005
LEASE_SECONDS = 60.0
"""A client that has been silent for so long is gone, and its lane is free. A healthy client never
waits so long."""


class LaneActor:
    """Owns a GPU, or some cores, of its node. Methods run in the actor's threads, training in a
    thread beside them."""

    def __init__(self, options: ServerOptions) -> None:
        """The server is built on first use, so that its own errors reach the caller."""
        self._options = options
        self._server: LaneServer | None = None
        self._building = threading.Lock()
        self._broken: Exception | None = None

    def ready(self) -> int:
        """Build the server if it does not exist yet. Returns the process id of the actor."""
        self._get()
        return os.getpid()

    def submit(self, trial: int, config: dict[str, object]) -> None:
        """See `LaneServer.submit`."""
        self._get().submit(trial, config)

    def release(self, trial: int) -> None:
        """See `LaneServer.release`."""
        self._get().release(trial)

    def next(self, trial: int, timeout_seconds: float) -> list[LaneEvent] | None:
        """See `LaneServer.next`."""
        return self._get().next(trial, timeout_seconds)

    def _get(self) -> LaneServer:
        if self._broken is not None:  # a bug of ours; every client hears of it, and none hangs
            raise RuntimeError(
                f"The lane server stopped training: {self._broken!r}"
            ) from self._broken
        with self._building:
            if self._server is None:
                self._server = build_server(self._options, lease_seconds=LEASE_SECONDS)
                threading.Thread(
                    target=self._train, args=(self._server,), name=TRAINING, daemon=True
                ).start()
        return self._server

    def _train(self, server: LaneServer) -> None:
        if not self._options.idle:
            from zoneout_core.training import subnormals  # torch, which the server has loaded

            subnormals.flush()
        try:
            while True:
                if not server.advance():
                    time.sleep(IDLE_SECONDS)
        except Exception as error:
            self._broken = error
            raise


def start(nodes: dict[str, str], options: ServerOptions, gpus: float) -> list[Any]:
    """Start a lane server for each name in `nodes` ({actor name: node id}). They end with the
    driver.

    Waits until they are up. Raises a server's own error when it cannot start, for instance for a
    device that does not exist.
    """
    actor: Any = ray.remote(LaneActor)
    handles = [
        actor.options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=0,
            num_gpus=gpus,
            max_restarts=-1,
            # Every client may wait in `next` while another call comes in.
            max_concurrency=2 * options.lanes + 8,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(options)
        for name, node in nodes.items()
    ]
    try:
        ray.get([handle.ready.remote() for handle in handles])
    except RayTaskError as error:
        raise error.cause from error
    return handles
