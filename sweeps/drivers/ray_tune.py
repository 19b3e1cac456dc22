"""Drive a sweep with Ray Tune: one Tune trial per trial, thin clients, one lane server per node.

The ledger is Tune's searcher (`suggest`) and its stopper (every result). Tune's own snapshots are
never restored, since journal, study and checkpoints hold everything.
"""

import gc
import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sweeps.books.events import WarningEvent
from sweeps.books.ledger import Ledger
from sweeps.serving.lane_server import ServerOptions
from zoneout_core.errors import RunError, ZoneoutError

# Ray reads these on import. Our journal replaces Tune's loggers and snapshots, and our handlers its
# signal handling.
os.environ |= {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Otherwise Ray would exit before `Pulse` can say why.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    "RAY_worker_niceness": "0",  # a local Ray shares its machine with nobody: training comes first
}

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sweeps.drivers import lane_actor
from sweeps.drivers.apart import Books, Gone, Pulse, run_apart
from sweeps.drivers.interrupts import kill_descendants
from sweeps.drivers.lane_trial import LaneTrial
from sweeps.drivers.local_ray import private_ray

LANE = "lane"
"""The custom resource of a node: how many trials it may train at a time."""
OBJECT_STORE_BYTES = 100_000_000
LOCAL_PATIENCE_SECONDS, CLUSTER_PATIENCE_SECONDS = 3.0, 60.0
"""How long Ray's control process may be away. Nobody restarts that of a local Ray, but a cluster's
head may come back."""


class _Unpickled:
    """An object that exists in this driver only. Tune pickles such objects to restore them later,
    which never happens here."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node that trains, with one lane server for each GPU, or for each `threads` of its cores."""

    id: str
    lanes: float
    """How many trials it may train at a time."""
    gpus: float
    """GPUs of each server: 1 or 0."""
    servers: list[str]
    """Names of its lane servers."""

    @classmethod
    def of(cls, node: dict[str, Any], options: ServerOptions, run_name: str) -> Self:
        """The node that is an item of `ray.nodes()`."""
        resources = node["Resources"]
        if options.device != "cpu":
            gpus = int(resources.get("GPU", 0))
        else:
            gpus = 0
        count = gpus or max(1, int(resources.get("CPU", 1)) // options.threads)
        names = [f"{run_name}-{node['NodeID']}-{index}" for index in range(count)]
        return cls(id=node["NodeID"], lanes=resources[LANE], gpus=float(gpus > 0), servers=names)


class LedgerSearch(_Unpickled, Searcher):
    """Where Tune's trials come from. It sets no metric, since `LedgerStopper` takes the results."""

    def __init__(self, ledger: Books, servers: dict[str, list[str]]) -> None:
        super().__init__()
        self._ledger = ledger
        self._servers = servers

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, or FINISHED."""
        assignment = self._ledger.ask()
        if assignment is None:
            return Searcher.FINISHED
        return {
            "trial": assignment.trial,
            "config": assignment.config.to_json(),
            "servers": self._servers,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the lane's `end` event says how the trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is durable."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class LedgerStopper(_Unpickled, tune.Stopper):
    """Ends a trial of Tune's or all of them. Every result passes here."""

    def __init__(
        self, ledger: Books, stop: Callable[[], bool], release: Callable[[int], None]
    ) -> None:
        self._ledger, self._stop, self._release = ledger, stop, release

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        over = False
        try:
            for event in result["events"]:
                over = self._ledger.take(event) or over
        except ZoneoutError:  # the books keep it; Tune would take it for the failure of one trial
            return True
        if over or result["done"]:
            self._release(result["config"]["trial"])
        return over

    def stop_all(self) -> bool:
        return self._ledger.error is not None or self._stop()


class LostTrials(_Unpickled, tune.Callback):
    """Hears of trials whose process died. Tune puts them on a lane again up to `max_failures`
    times.

    While the sweep stops, a process may have received the driver's signal. Its trial then counts as
    interrupted, like the others.
    """

    def __init__(
        self, ledger: Books, stop: Callable[[], bool], release: Callable[[int], None]
    ) -> None:
        self._ledger, self._stop, self._release = ledger, stop, release

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        number = trial.config["trial"]
        self._release(number)
        if not self._stop():
            self._ledger.lost(number, self._reason(trial))

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        text = f"Trial {trial.config['trial']} is put on a lane again: {self._reason(trial)}"
        self._ledger.note(WarningEvent(text=text))

    @staticmethod
    def _reason(trial: Trial) -> str:
        lines = [line.strip() for line in str(trial.get_error() or "").splitlines() if line.strip()]
        if lines:
            return lines[-1]
        return "its process died"


def drive(
    ledger: Ledger,
    options: ServerOptions,
    concurrency: int,
    stop: Callable[[], bool],
    *,
    listen: Callable[[], None],
    go_on: str,
    run_name: str,
    scratch: Path,
    address: str,
    max_failures: int,
) -> None:
    """Run trials until there are no more, or until `stop()` is true at a turn of Tune's loop.

    Ray is used in a thread of its own: `ray.init` takes the signals, in C++ too, and its calls may
    block for minutes. Meanwhile `listen` is called to take the signals back. `go_on` is the command
    that resumes.

    `address` is "local" for a Ray of its own on this machine, or the address of a cluster whose
    nodes offer `lane`s. `scratch` is a folder that all nodes see; Tune's files go there and are
    deleted. Raises `RunError` when there is no such cluster, or when it is gone.
    """
    books = Books(ledger)
    connection = threading.Event()
    pulse = Pulse(LOCAL_PATIENCE_SECONDS if address == "local" else CLUSTER_PATIENCE_SECONDS)
    # Ray would warn that it is not in the main thread.
    logging.getLogger("ray").setLevel(logging.ERROR)

    def work() -> None:
        with connected(address, options):
            connection.set()
            pulse.begin(ray.get_runtime_context().gcs_address)
            if not stop():
                _tune(books, options, concurrency, stop, run_name, scratch, address, max_failures)

    def turn() -> None:
        listen()
        if gone := pulse.lost():
            books.close()
            if address == "local":
                kill_descendants()
            raise Gone(
                f"A sweep needs Ray's control process, but nobody answers at {gone} any more."
                f" Nothing that was recorded is lost. Go on with: {go_on}"
            )

    try:
        run_apart(work, connection, turn)
    except Gone:
        if not stop():  # a signal may have reached Ray's processes too
            raise


def _tune(
    ledger: Books,
    options: ServerOptions,
    concurrency: int,
    stop: Callable[[], bool],
    run_name: str,
    scratch: Path,
    address: str,
    max_failures: int,
) -> None:
    """What `drive` does, connected to Ray."""
    nodes = [
        Node.of(node, options, run_name)
        for node in ray.nodes()
        if node["Alive"] and LANE in node["Resources"]
    ]
    if not nodes:
        raise RunError(
            f"A sweep needs nodes that offer lanes, but the cluster at {address} has none. "
            """Start its nodes with: ray start ... --resources='{"lane": 8}'"""
        )
    servers = lane_actor.start(
        {name: node.id for node in nodes for name in node.servers}, options, nodes[0].gpus
    )

    def release(number: int) -> None:
        for server in servers:
            server.release.remote(number)

    stopper = LedgerStopper(ledger, stop, release)
    # Resources of a client, so that no node gets more clients than its servers have lanes.
    share = max(1.0, *(node.lanes / (options.lanes * len(node.servers)) for node in nodes))
    tuner = tune.Tuner(
        tune.with_resources(LaneTrial, tune.PlacementGroupFactory([{LANE: share}])),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearch(ledger, {node.id: node.servers for node in nodes}),
            num_samples=-1,
            max_concurrent_trials=concurrency or options.lanes * len(servers),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            stop=stopper,
            callbacks=[LostTrials(ledger, stop, release)],
            failure_config=tune.FailureConfig(max_failures=max_failures),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch / "tune", ignore_errors=True)
        for server in servers:
            ray.kill(server)
        if ledger.error is not None:
            raise ledger.error


@contextmanager
def connected(address: str, options: ServerOptions) -> Iterator[None]:
    """A connection to Ray for the length of a sweep; for "local", to a new Ray that ends with it.

    A local Ray is private (`sweeps.drivers.local_ray`). A cluster is joined with the token and mode
    that the user has set for it. Raises `RunError` when there is no cluster at `address`.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with ExitStack() as surroundings:
        if address == "local":
            folder = surroundings.enter_context(private_ray())
            surroundings.callback(_leave)
            ray.init(
                address="local",
                num_cpus=os.cpu_count() or 1,
                resources={LANE: options.lanes * (os.cpu_count() or 1)},
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
                **quiet,
            )
        else:
            surroundings.callback(_leave)
            try:
                _knock(address)
                ray.init(address=address, **quiet)
            except (OSError, OverflowError, ValueError) as error:  # no cluster, or not an address
                raise RunError(
                    f"--address must be that of a Ray cluster that runs, but {address!r} gives:"
                    f" {error}. Start one (ray up docker/cluster.yaml), or leave the option out for"
                    " a Ray on this machine."
                ) from error
        yield


def _leave() -> None:
    """Shut Ray down while no thread can free one of its object references.

    If a thread frees a reference while Ray's core shuts down, its C++ ends the whole process with
    exit code 1. Python's garbage collector may do so in any thread, such as the one that delivers.
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if enabled:
            gc.enable()


def _knock(address: str) -> None:
    """Raises `OSError` when nobody listens at `host:port`. Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=5).close()
