"""A lane server as a Ray actor: one per device, found by name, its training loop in a thread of its
own."""

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
"""Name of the thread that trains."""
IDLE_SECONDS = 0.005
LEASE_SECONDS = 60.0
"""A client that has not asked for so long is gone, and its lane is free. Longer than any wait of a
healthy one."""


class LaneActor:
    """Owns a GPU, or some cores, of its node. Methods run in threads of the actor, training in one
    beside them."""

    def __init__(self, options: ServerOptions) -> None:
        """The server is built on first use, so that its errors reach the caller as they are."""
        self._options = options
        self._server: LaneServer | None = None
        self._building = threading.Lock()
        self._broken: Exception | None = None

    def ready(self) -> int:
        """Build the server if it is not there yet; the process that owns the device."""
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
        if self._broken is not None:  # a bug of ours: every client hears of it, none waits for ever
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
    """A lane server for each name in `nodes` ({actor name: node id}). Created by the driver, they
    end with it.

    Waits until they are up; raises a server's own error (a device that is not there, say) when it
    cannot begin.
    """
    actor: Any = ray.remote(LaneActor)
    handles = [
        actor.options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=0,
            num_gpus=gpus,
            max_restarts=-1,
            max_concurrency=2 * options.lanes
            + 8,  # every client may wait in `next` while another call comes in
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(options)
        for name, node in nodes.items()
    ]
    try:
        ray.get([handle.ready.remote() for handle in handles])
    except RayTaskError as error:
        raise error.cause from error
    return handles
