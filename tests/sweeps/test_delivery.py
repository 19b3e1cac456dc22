import fcntl
import multiprocessing
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from mlflow import MlflowClient

from analysis import load
from analysis.mlflow_filter import tag_is
from sweeps import definition
from sweeps.books.events import TrialEvent
from sweeps.books.run_folder import RunFolder
from sweeps.tracking import delivery as delivery_module
from sweeps.tracking import mirror
from sweeps.tracking.delivery import Delivery, Tracking
from sweeps.tracking.ui import Server
from tests.sweeps import deliverer
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.journals import BEGAN, RunMaker, bpc
from tests.sweeps.stores import EXPERIMENT, Stored, free_port, kill, postgres, sqlite_store, stored
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import RunError
from zoneout_core.records import CHARACTERS, Metrics, TrialState


def one_of_each(run: RunMaker) -> None:
    """A closed run with a trial in every state."""
    run.driver()
    run.complete(0)
    run.pruned(1, epoch=2)
    run.failed(2, epoch=1)
    run.trial(3)
    run.record(3, 1, 2.0)
    run.closed("interrupted", "Ctrl-C")


def deliver(run: RunMaker, uri: str, timeout: float = 60.0) -> None:
    warnings: list[str] = []
    assert Delivery(run.folder, uri, EXPERIMENT, warn=warnings.append).deliver(timeout) == 0, (
        warnings
    )


def statuses(runs: dict[str, Stored]) -> dict[str, tuple[str, str]]:
    return {key: (one.status, one.tags.get("zoneout.state", "")) for key, one in runs.items()}


def eventually(uri: str, wanted: dict[str, tuple[str, str]], seconds: float = 30.0) -> None:
    """Wait until MLflow shows these statuses and states."""
    client, until = MlflowClient(uri), time.monotonic() + seconds
    while client.get_experiment_by_name(EXPERIMENT) is None or statuses(stored(uri)) != wanted:
        assert time.monotonic() < until, (
            f"not {wanted} within {seconds} s, but {statuses(stored(uri))}"
        )
        time.sleep(0.05)


def test_every_state_and_number_reaches_mlflow(run: RunMaker, uri: str) -> None:
    one_of_each(run)
    deliver(run, uri)
    runs = stored(uri)
    assert statuses(runs) == {
        "run1": ("KILLED", "interrupted"),
        "run1/00000": ("FINISHED", "complete"),
        "run1/00001": ("KILLED", "pruned"),
        "run1/00002": ("FAILED", "failed"),
        "run1/00003": ("KILLED", "interrupted"),
    }
    complete = runs["run1/00000"]
    assert complete.params == {
        "regularizer.zoneout.z_cells": "0.5",
        "regularizer.zoneout.z_states": "0.05",
        "seed": "0",
    }
    first = round(1000 * (BEGAN + 0.3))  # after driver, trial and placed
    assert complete.history["valid_chunked_bpc"] == [
        (epoch, first + 100 * (epoch - 1), bpc(0.5, 0.05, epoch)) for epoch in range(1, 6)
    ]
    assert set(complete.history) == {
        "train_bpc",
        "valid_chunked_bpc",
        "grad_norm",
        "epoch_updates",
        "epoch_seconds",
        "best_valid_chunked_bpc",
        "best_valid_stream_bpc",
        "best_test_chunked_bpc",
        "best_test_stream_bpc",
        "best_stream_uncertainty_bpc",
        "best_epoch",
    }
    assert complete.history["best_epoch"] == [(5, first + 400, 5.0)]
    assert complete.tags == {
        "mlflow.parentRunId": "run1",
        "mlflow.runName": "00000",
        "zoneout.key": "run1/00000",
        "zoneout.run": "run1",
        "zoneout.trial": "0",
        "zoneout.seed": "0",
        "zoneout.epoch": "5",
        "zoneout.state": "complete",
        "zoneout.reason": "all 5 epochs",
        "zoneout.shape_key": complete.tags["zoneout.shape_key"],
        "zoneout.metrics": msgspec.json.encode(CHARACTERS).decode(),
        "zoneout.implementation": "torch",
        "zoneout.implementation_reason": "CPU",
        "zoneout.device": "cpu",
        "zoneout.host": "here",
        "zoneout.threads": "2",
        "zoneout.lanes": "8",
    }
    assert (
        runs["run1/00002"].tags["zoneout.reason"] == "diverged: the loss of epoch 2 is not finite"
    )


def test_the_parent_has_the_definition_a_chart_and_the_files(run: RunMaker, uri: str) -> None:
    run.driver()
    run.complete(0)
    run.complete(1, z_cells=0.0)
    run.failed(2, epoch=1)
    (run.folder / "report").mkdir()
    (run.folder / "report" / "heatmap.png").write_bytes(b"picture")
    run.tell("artifact", path="report/heatmap.png", name="heatmap.png")
    run.tell("artifact", path="report/gone.png", name="gone.png")
    run.closed()
    deliver(run, uri)
    parent = stored(uri)["run1"]
    assert (parent.status, parent.tags["zoneout.reason"]) == ("FINISHED", "all trials ended")
    assert parent.params == {"name": "figure3", "lanes": "8", "base.task": "char_ptb"}
    assert msgspec.json.decode(parent.tags["zoneout.metrics"], type=Metrics) == CHARACTERS
    assert parent.files == ["heatmap.png", "provenance.json", "sweep.json"]
    assert [(step, value) for step, _, value in parent.history["trials_finished"]] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
    ]
    best = bpc(0.5, 0.05, 5)
    assert [(step, value) for step, _, value in parent.history["best_valid_chunked_bpc"]] == [
        (1, best),
        (2, best),
        (3, best),
    ]


def test_of_the_base_configuration_mlflow_shows_the_task_and_what_was_changed(
    run: RunMaker, uri: str
) -> None:
    run.driver()
    run.closed()
    RunFolder(run.folder).write_definition(
        definition.get("figure3_small").with_values({"batch_size": 16, "clip_norm": "inf"})
    )
    deliver(run, uri)
    parent = stored(uri)["run1"]
    base = {key: value for key, value in parent.params.items() if key.startswith("base.")}
    assert base == {
        "base.task": "char_ptb",
        "base.model.hidden_size": "128",
        "base.epochs": "1",
        "base.batch_size": "16",
        "base.optim.clip_norm": "inf",
    }
    assert parent.params["lanes"] == "9"


def test_a_param_or_tag_that_is_too_long_for_mlflow_says_that_it_is_cut(
    run: RunMaker, uri: str
) -> None:
    run.driver()
    run.trial(0)
    run.failed(0, epoch=1)
    run.closed("failed", "x" * 7000)
    deliver(run, uri)
    reason = stored(uri)["run1"].tags["zoneout.reason"]
    assert len(reason) == 5000
    assert reason.endswith("xxx... (cut: 7,000 characters; the whole is in the run's folder)")


@pytest.mark.parametrize("name", ["it's mine", 'the "best" one'])
def test_a_run_that_was_renamed_is_found_by_its_name(tmp_path: Path, uri: str, name: str) -> None:
    run = RunMaker(tmp_path / "home" / name)
    one_of_each(run)
    deliver(run, uri)
    before = stored(uri)
    deliver(run, uri)
    assert stored(uri) == before
    assert {name, f"{name}/00000"} <= set(before)
    assert mirror.has_run(uri, EXPERIMENT, name)
    assert len(load.trials(uri, EXPERIMENT, name)) == 4


def test_a_name_with_both_kinds_of_quotes_is_refused() -> None:
    with pytest.raises(RunError) as error:
        tag_is("zoneout.run", """it's "mine\"""")
    assert str(error.value) == (
        """MLflow can search for a name with one kind of quotes, but 'it\\'s "mine"' has both. Rename the run's folder."""
    )


def test_delivering_again_changes_nothing(run: RunMaker, uri: str) -> None:
    one_of_each(run)
    deliver(run, uri)
    before = stored(uri)
    deliver(run, uri)
    assert stored(uri) == before


def test_more_metrics_than_one_request_takes(run: RunMaker, uri: str) -> None:
    run.epochs = 500
    run.driver()
    run.complete(0)
    run.closed()
    deliver(run, uri)
    history = stored(uri)["run1/00000"].history
    assert [step for step, _, _ in history["grad_norm"]] == list(range(1, 501))


def test_a_live_run_is_delivered_as_it_goes_and_resumed_where_it_was(
    run: RunMaker, uri: str, templates: Path
) -> None:
    live = Delivery(run.folder, uri, EXPERIMENT, poll_seconds=0.02)
    live.start()
    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    eventually(uri, {"run1": ("RUNNING", "running"), "run1/00000": ("RUNNING", "running")})
    run.closed("interrupted", "Ctrl-C")
    assert live.drain(30) == 0
    assert statuses(stored(uri)) == {
        "run1": ("KILLED", "interrupted"),
        "run1/00000": ("KILLED", "interrupted"),
    }
    resumed = Delivery(run.folder, uri, EXPERIMENT, poll_seconds=0.02)
    resumed.start()
    run.driver()
    run.placed(0)
    eventually(uri, {"run1": ("RUNNING", "running"), "run1/00000": ("RUNNING", "running")})
    run.record(0, 2, 1.5, last=True)
    run.end(0, TrialState.COMPLETE, "all 2 epochs", 2)
    run.closed()
    assert resumed.drain(30) == 0
    runs = stored(uri)
    assert statuses(runs) == {
        "run1": ("FINISHED", "finished"),
        "run1/00000": ("FINISHED", "complete"),
    }
    other = sqlite_store(run.folder.parent.parent / "other", templates)
    deliver(run, other)
    assert stored(other) == runs


def test_a_dead_driver_leaves_nothing_running(run: RunMaker, uri: str) -> None:
    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    with (run.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        deliver(run, uri)
        assert stored(uri)["run1/00000"].status == "RUNNING"
    deliver(run, uri)
    runs = stored(uri)
    assert statuses(runs) == {
        "run1": ("KILLED", "interrupted"),
        "run1/00000": ("KILLED", "interrupted"),
    }
    assert runs["run1/00000"].tags["zoneout.reason"] == "its driver died"


def test_of_several_runs_with_a_key_the_oldest_stays(run: RunMaker, uri: str) -> None:
    one_of_each(run)
    client = MlflowClient(uri)
    experiment = client.create_experiment(EXPERIMENT, artifact_location=run.folder.parent.as_uri())
    tags = {"zoneout.key": "run1/00000", "zoneout.run": "run1"}
    young, old = (
        client.create_run(experiment, start_time=when, tags=tags).info.run_id
        for when in (2000, 1000)
    )
    deliver(run, uri)
    assert statuses(stored(uri))["run1/00000"] == ("FINISHED", "complete")
    assert client.get_run(old).info.lifecycle_stage == "active"
    assert client.get_run(young).info.lifecycle_stage == "deleted"


def test_a_run_or_experiment_deleted_by_hand_comes_back_whole(run: RunMaker, uri: str) -> None:
    one_of_each(run)
    deliver(run, uri)
    before = stored(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    [found] = client.search_runs([experiment.experiment_id], "tags.`zoneout.key` = 'run1/00000'")
    client.delete_run(found.info.run_id)
    client.delete_experiment(experiment.experiment_id)
    deliver(run, uri)
    assert stored(uri) == before


def test_a_trial_that_mlflow_refuses_holds_up_no_other(run: RunMaker, uri: str) -> None:
    run.driver()
    odd = {
        "params": {"what?": 1},
        "config": {},
        "metrics": msgspec.to_builtins(run.metrics),
        "shape_key": "s",
        "seed": 0,
    }
    run.tell("trial", trial=0, **odd)
    run.placed(0)
    run.complete(1)
    run.complete(2)
    run.closed()
    warnings: list[str] = []
    left = Delivery(run.folder, uri, EXPERIMENT, poll_seconds=0.01, warn=warnings.append).deliver(8)
    assert left > 0
    assert len(warnings) == 1
    assert "Training goes on and the journal keeps everything" in warnings[0]
    assert warnings[0].endswith(f"goes out with: sweep deliver run1 --home {run.folder.parent}")
    runs = stored(uri)
    assert (runs["run1/00001"].status, runs["run1/00002"].status) == ("FINISHED", "FINISHED")


def start_deliverer(folder: Path, uri: str) -> ForkServerProcess:
    """A process that delivers. They are forked off one that has imported MLflow, which takes
    seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.tracking", "tests.sweeps.deliverer"])
    process = context.Process(target=deliverer.deliver, args=(folder, uri))
    process.start()
    return process


def test_kill_9_of_a_deliverer_anywhere_leaves_nothing_twice(
    run: RunMaker, uri: str, templates: Path
) -> None:
    run.driver()
    for number in range(12):
        run.complete(number)
    run.trial(12)
    run.closed("interrupted", "Ctrl-C")
    chance = random.Random(7)
    killed = 0
    for _ in range(12):
        process = start_deliverer(run.folder, uri)
        process.join(chance.uniform(0.05, 0.7))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    assert killed >= 4, "deliverers must be killed at work, not afterwards"
    deliver(run, uri)
    runs = stored(uri)
    assert len(runs) == 14
    assert "RUNNING" not in {one.status for one in runs.values()}
    other = sqlite_store(run.folder.parent.parent / "other", templates)
    deliver(run, other)
    assert stored(other) == runs


def test_several_processes_deliver_at_once_and_the_result_is_one(
    run: RunMaker, uri: str, templates: Path
) -> None:
    run.driver()
    for number in range(8):
        run.complete(number)
    run.closed()
    processes = [start_deliverer(run.folder, uri) for _ in range(3)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    other = sqlite_store(run.folder.parent.parent / "other", templates)
    deliver(run, other)
    assert stored(uri) == stored(other)


def interrupted_server(run: RunMaker, store_uri: str, artifacts: Path) -> dict[str, Stored]:
    """Deliver a growing run to a server that is killed in the middle and comes back: what the
    server then holds."""
    port = free_port()
    warnings: list[str] = []
    with Server(store_uri, artifacts, port) as server:
        live = Delivery(
            run.folder, server.address, EXPERIMENT, poll_seconds=0.05, warn=warnings.append
        )
        live.start()
        run.driver()
        for number in range(4):
            run.complete(number)
        time.sleep(0.5)
        kill(server)
    run.complete(4)
    until = time.monotonic() + 10
    while not live.problem and time.monotonic() < until:
        time.sleep(0.05)
    run.complete(5)
    run.closed()
    assert live.drain(1.0) > 0, "nobody is there to deliver to"
    assert len(warnings) == 1
    with Server(store_uri, artifacts, port) as server:
        deliver(run, server.address)
        return stored(server.address)


def test_a_server_killed_in_the_middle_and_started_again(
    run: RunMaker, uri: str, templates: Path
) -> None:
    runs = interrupted_server(run, uri, run.folder.parent / "mlflow")
    other = sqlite_store(run.folder.parent.parent / "other", templates)
    deliver(run, other)
    assert runs == stored(other)


@pytest.mark.needs_postgres
def test_a_server_on_postgres_killed_in_the_middle_and_started_again(
    run: RunMaker, templates: Path
) -> None:
    with postgres() as database:
        runs = interrupted_server(run, database, run.folder.parent / "mlflow")
    other = sqlite_store(run.folder.parent.parent / "other", templates)
    deliver(run, other)
    assert runs == stored(other)


def test_a_server_that_never_answers_holds_up_nobody(run: RunMaker) -> None:
    one_of_each(run)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        live = Delivery(
            run.folder,
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            EXPERIMENT,
            warn=lambda text: None,
        )
        began = time.monotonic()
        live.start()
        assert live.drain(0.5) > 0
        assert time.monotonic() - began < 3.0


@contextmanager
def answering(status: int, seconds: float = 0.0, body: bytes = b"no") -> Iterator[str]:
    """A server that gives every request this answer; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(seconds)
            with suppress(OSError):  # nobody waited for it
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *given: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [401, 403, 404, 500, None])
def test_the_end_does_not_wait_for_a_server_that_refuses_or_is_not_there(
    run: RunMaker, status: int | None
) -> None:
    one_of_each(run)
    with answering(status) if status else nullcontext(f"http://127.0.0.1:{free_port()}") as address:
        live = Delivery(run.folder, address, EXPERIMENT, poll_seconds=0.05, warn=lambda text: None)
        live.start()
        until = time.monotonic() + 60
        while not live.problem:  # MLflow is imported
            assert time.monotonic() < until
            time.sleep(0.05)
        began = time.monotonic()
        assert live.drain(60) > 0
        assert time.monotonic() - began < 20


def test_a_signal_ends_the_wait_for_a_slow_server(run: RunMaker) -> None:
    one_of_each(run)
    with answering(503, 0.2) as address:
        live = Delivery(run.folder, address, EXPERIMENT, poll_seconds=0.05, warn=lambda text: None)
        live.start()
        began = time.monotonic()
        assert live.drain(60, lambda: time.monotonic() - began > 2) > 0
        assert 2 < time.monotonic() - began < 10


def test_a_busy_server_is_waited_for(run: RunMaker) -> None:
    one_of_each(run)
    with answering(503) as address:
        live = Delivery(run.folder, address, EXPERIMENT, poll_seconds=0.05, warn=lambda text: None)
        live.start()
        began = time.monotonic()
        assert live.drain(12) > 0
        assert time.monotonic() - began > 11


def test_where_nobody_reads_what_is_said_delivery_goes_on(run: RunMaker, uri: str) -> None:
    one_of_each(run)
    run.add(TrialEvent.of(9, {"what?": 1}, TrialConfig(), CHARACTERS))
    run.placed(9)

    def gone(text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    assert Delivery(run.folder, uri, EXPERIMENT, poll_seconds=0.01, warn=gone).deliver(20) > 0
    assert stored(uri)["run1/00000"].status == "FINISHED"


def test_a_delivery_that_fails_changes_nothing_about_where_the_run_is(copied: RunFolder) -> None:
    tracked = Tracking.local(copied.folder.parent, "demo")
    tracked.save(copied)
    before = copied.tracking.read_bytes()
    nobody = f"http://127.0.0.1:{free_port()}"
    done = sweep("deliver", "latest", "--tracking", nobody, *home_of(copied))
    assert (done.code, copied.tracking.read_bytes()) == (1, before)
    assert (
        f"goes out with: sweep deliver {copied.name} --home {copied.folder.parent} --tracking {nobody}"
        in done.err
    )
    copied.tracking.unlink()
    assert sweep("deliver", "latest", "--tracking", nobody, *home_of(copied)).code == 1
    assert not copied.tracking.exists()


def test_without_mlflow_the_reason_is_told(
    run: RunMaker, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "find_spec", lambda name: None)
    with pytest.raises(RunError) as error:
        Delivery(run.folder, uri, EXPERIMENT).start()
    assert str(error.value) == (
        "Delivery needs the package mlflow, which is not installed here. The journal keeps every record; "
        f"install it (pip install mlflow) and deliver with: sweep deliver run1 --home {run.folder.parent}"
    )


def test_starting_a_delivery_does_not_import_mlflow_in_the_caller(repo_root: Path) -> None:
    code = "import sys, sweeps.tracking.delivery, sweeps.tracking.ui; print([m for m in ('mlflow', 'torch', 'ray') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_tracking_is_written_down_and_found_again(run: RunMaker, tmp_path: Path) -> None:
    tracking = Tracking.local(tmp_path / "home", "demo")
    assert tracking == (f"sqlite:///{tmp_path}/home/mlflow.db", "demo")
    tracking.save(RunFolder(run.folder))
    assert Tracking.of(RunFolder(run.folder)) == tracking


def test_a_run_without_tracking_says_what_to_do(run: RunMaker) -> None:
    with pytest.raises(
        RunError,
        match=r"tracking.json says where MLflow has it, but .*sweep deliver run1 --home .* --tracking",
    ):
        Tracking.of(RunFolder(run.folder))


def test_a_password_is_never_shown() -> None:
    assert (
        Tracking("postgresql+psycopg://me:secret@db/mlflow", "x").shown
        == "postgresql+psycopg://me:***@db/mlflow"
    )
    assert Tracking("sqlite:////home/mlflow.db", "x").shown == "sqlite:////home/mlflow.db"
