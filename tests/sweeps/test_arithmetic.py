"""What decides bits on a machine: its fastest product, kept by the run; threads that flush;
precisions it has."""

from pathlib import Path

import pytest
import torch

from sweeps import preflight
from sweeps.books.events import EndEvent, LaneEvent, PlacedEvent
from sweeps.books.run_folder import RunFolder
from sweeps.drivers.lane_actor import LaneActor
from sweeps.runner import DriveOptions
from sweeps.serving.lane_server import LaneServer, ServerOptions
from sweeps.serving.pack_trainer import pack_builder
from tests.sweeps.commands import sweep
from tests.sweeps.driven import begin, curves, drive_inline, settings, tiny
from zoneout_core.errors import ConfigError
from zoneout_core.kernels import emulation, machine, product
from zoneout_core.records import TrialState
from zoneout_core.training import subnormals

KEPT = "subnormal numbers are kept"


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZONEOUT_PRODUCT", raising=False)
    monkeypatch.delenv("ZONEOUT_FLUSH_SUBNORMALS", raising=False)


def reasons(run: RunFolder) -> set[str]:
    """Of the placements of all trials."""
    placements = [trial.placement for trial in run.story().trials.values()]
    return {placement.implementation_reason for placement in placements if placement is not None}


@pytest.mark.parametrize("name", product.possible("float32"))
def test_numbers_do_not_depend_on_lanes_with_any_product(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_PRODUCT", name)
    found = []
    for lanes in (1, 3):
        asked = tiny(lanes=lanes, num_trials=3)
        run = begin(tmp_path, asked)
        drive_inline(run, asked)
        assert reasons(run) == {
            f"explicit backward on cpu; product {name}: float32, because ZONEOUT_PRODUCT asked for it"
        }
        found.append(curves(run))
    assert found[0] == found[1]


def test_a_run_goes_on_with_the_product_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tiny(lanes=1, num_trials=2)
    whole = begin(tmp_path, asked)
    monkeypatch.setenv("ZONEOUT_PRODUCT", "mm")
    drive_inline(whole, asked)
    cut = begin(tmp_path, asked)
    stops = iter([*[False] * 6, *[True] * 1000])
    from sweeps.books.ledger import Ledger
    from sweeps.drivers import inline

    options = ServerOptions(
        lanes=1,
        device="cpu",
        threads=1,
        data=tmp_path,
        checkpoints=cut.checkpoints,
        products=cut.products,
    )
    ledger = Ledger(cut, asked, "inline")
    inline.drive(ledger, options, 1, lambda: next(stops))
    ledger.close("interrupted", "test")
    monkeypatch.delenv("ZONEOUT_PRODUCT")
    drive_inline(cut, asked)
    assert len(list(cut.products.glob("*.json"))) == 1
    assert reasons(cut) == reasons(whole)
    assert curves(cut) == curves(whole)


def test_a_sweep_in_this_process_flushes_subnormal_numbers_and_leaves_its_threads_alone(
    tmp_path: Path,
) -> None:
    asked = tiny(num_trials=1)
    run = begin(tmp_path, asked)
    threads = torch.get_num_threads()
    drive_inline(run, asked)
    assert all(KEPT not in reason for reason in reasons(run))
    assert not subnormals.are_flushed()
    assert torch.get_num_threads() == threads


def test_a_run_says_when_subnormal_numbers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_FLUSH_SUBNORMALS", "0")
    asked = tiny(num_trials=1)
    run = begin(tmp_path, asked)
    drive_inline(run, asked)
    assert all(
        reason.endswith(f"; {KEPT}, because of ZONEOUT_FLUSH_SUBNORMALS=0")
        for reason in reasons(run)
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_the_training_thread_of_a_lane_server_flushes_them(threads: int, tmp_path: Path) -> None:
    """The class that Ray makes an actor of. Its placement tries all threads among which torch
    divides the work."""
    config = tiny().trial_config({"regularizer.zoneout.z_cells": 0.25})
    actor = LaneActor(
        ServerOptions(lanes=1, device="cpu", threads=threads, data=tmp_path, checkpoints=tmp_path)
    )
    actor.submit(0, config.to_json())
    events: list[LaneEvent] = []
    while not events or not isinstance(events[-1], EndEvent):
        events += actor.next(0, 1.0) or []
    assert isinstance(events[0], PlacedEvent)
    assert KEPT not in events[0].implementation_reason
    assert not subnormals.are_flushed()
    torch.set_num_threads(1)


# Precisions that this machine has to emulate


@pytest.fixture
def _no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_bfloat16", lambda: False)
    monkeypatch.setattr(machine, "processor", lambda: "Processor 7")
    monkeypatch.setattr(emulation, "slowdown", lambda precision: 2.64)


REFUSED = (
    "error: precision must be one that this processor has (Processor 7), but it has no instructions for bfloat16: "
    "emulated, products take 2.6 times as long as in float32, which is more precise. Use --set precision=float32, or "
    "--force to train all the same.\n"
)


@pytest.mark.usefixtures("_no_bfloat16")
@pytest.mark.parametrize("command", ["run demo", "reproduce toys --scale smoke"])
def test_an_emulated_precision_is_refused_before_there_is_a_run(
    command: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    done = sweep(
        *command.split(), "--set", "precision=bfloat16", "--home", home, "--tracking", "none"
    )
    assert (done.code, done.out, done.err) == (2, "", REFUSED)
    assert not home.exists()


@pytest.mark.usefixtures("_no_bfloat16")
def test_resuming_with_an_emulated_precision_is_refused(tmp_path: Path) -> None:
    run = begin(tmp_path, tiny(precision="bfloat16"))
    done = sweep("resume", "latest", "--home", tmp_path, "--tracking", "none")
    assert (done.code, done.out, done.err) == (2, "", REFUSED)
    assert not run.journal.exists()


@pytest.mark.usefixtures("_no_bfloat16")
def test_an_emulated_precision_trains_by_force_and_says_what_it_is(tmp_path: Path) -> None:
    asked = [*settings(), "--set", "precision=bfloat16", "--set", "num_trials=1"]
    done = sweep(
        "run", "demo", *asked, "--inline", "--force", "--home", tmp_path, "--tracking", "none"
    )
    assert done.code == 0, done.err
    (run,) = (
        RunFolder(folder) for folder in tmp_path.iterdir() if (folder / "sweep.json").exists()
    )
    (reason,) = reasons(run)
    assert reason.endswith("; emulated, which is slower than float32")


@pytest.mark.usefixtures("_no_bfloat16")
def test_a_trainer_refuses_too_where_the_driver_cannot_know(tmp_path: Path) -> None:
    """On a node of a cluster, which has another processor."""
    asked = tiny(precision="bfloat16")
    preflight.check_precision(asked, DriveOptions(data=tmp_path, address="10.0.0.1:6379"))
    with pytest.raises(ConfigError, match="--force to train all the same"):
        preflight.check_precision(asked, DriveOptions(data=tmp_path))
    server = LaneServer(pack_builder(tmp_path, tmp_path, "cpu", 1), lanes=1)
    server.submit(0, asked.trial_config({"regularizer.zoneout.z_cells": 0.25}).to_json())
    server.advance()
    (end,) = server.next(0) or []
    assert (end.state, end.reason) == (TrialState.FAILED, f"ConfigError: {REFUSED[7:-1]}")
