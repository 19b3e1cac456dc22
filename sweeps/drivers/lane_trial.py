"""A trial as Tune sees it: a thin client of its node's lane server. Imports no torch, so a process
takes only about 0.1 GB."""

import time
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError

from sweeps.books.events import EndEvent, LaneEvent
from sweeps.drivers.lane_actor import NAMESPACE

POLL_SECONDS = 20.0
RESTART_SECONDS = 120.0
"""How long a client waits for a dead lane server to come back."""


class LaneTrial(tune.Trainable):
    """One Tune trial = one trial = one lane. A step returns the lane's next events; the last result
    has `done`.

    With reused actors Tune calls neither `stop` nor `cleanup` between trials, and `reset_config`
    sees only the new `self.trial_id`. So the driver releases lanes, and this class keeps nothing
    that outlives a trial.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """`config`: `trial` (number), `config` (TrialConfig as JSON) and `servers` (actor names, by
        node id)."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial."""
        self._trial: int = new_config["trial"]
        self._config: dict[str, object] = new_config["config"]
        names = new_config["servers"][ray.get_runtime_context().get_node_id()]
        self._server: Any = ray.get_actor(names[self._trial % len(names)], namespace=NAMESPACE)
        self._submitted = False
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the lane's next events."""
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                if not self._submitted:
                    ray.get(self._server.submit.remote(self._trial, self._config))
                    self._submitted = True
                events: list[LaneEvent] | None = ray.get(
                    self._server.next.remote(self._trial, POLL_SECONDS)
                )
                deadline = time.monotonic() + RESTART_SECONDS
            except RayActorError:  # a restarted server has no trials: submit it again
                if time.monotonic() > deadline:
                    raise
                self._submitted = False
                time.sleep(0.2)
                continue
            if events is None:  # our lane was given away, or the server restarted between calls
                self._submitted = False
            elif events:
                done = any(isinstance(event, EndEvent) for event in events)
                return {"events": events, "done": done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: lanes are saved by their server."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the server knows how far the trial was."""
