"""Times of a journal: they never go back, whatever the machine's clock does."""

import time
from pathlib import Path

import pytest

from sweeps import clock
from sweeps.books import journal
from sweeps.books.events import ClosedEvent, DriverEvent, EndEvent
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from sweeps.cli.picture import elapsed
from sweeps.clock import Clock
from tests.sweeps.driven import begin, drive_inline, tiny
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import EXPERIMENT
from zoneout_core.records import TrialState

HOUR = 3600.0


def test_a_clock_that_is_set_back_changes_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    told = Clock()
    began = told.now()
    monkeypatch.setattr(clock.time, "time", lambda: real() - HOUR)
    time.sleep(0.05)
    assert 0.05 <= told.now() - began < 5
    later = Clock(told.now())
    assert later.now() >= told.now() - 0.01
    monkeypatch.setattr(clock.time, "time", lambda: real() + HOUR)
    assert told.now() - began < 5


def test_times_never_decrease_over_a_resume_with_a_clock_an_hour_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = tiny(epochs=1, num_trials=3)
    run = begin(tmp_path, tiny(epochs=1, num_trials=3))
    drive_inline(run, tiny(epochs=1, num_trials=2))
    real = time.time
    monkeypatch.setattr(clock.time, "time", lambda: real() - HOUR)
    drive_inline(run, sweep)
    times = [event.time for event in journal.read(run.journal)]
    assert times == sorted(times)
    spent = elapsed(run.story(), time.time())
    assert spent is not None
    assert 0 < spent < HOUR


def test_what_runs_now_has_run_for_no_negative_time() -> None:
    story = Story([DriverEvent(time=1000.0, pid=1, host="h", mode="inline")])
    assert elapsed(story, 400.0) == 0.0


def test_in_mlflow_nothing_ends_before_it_began(run: RunMaker, uri: str) -> None:
    """Also of journals that were written before times could not go back."""
    from mlflow import MlflowClient

    from sweeps.tracking.delivery import Delivery

    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    run.journal.append(EndEvent(time=1000.0, trial=0, state=TrialState.PRUNED, reason="r", epoch=1))
    run.journal.append(ClosedEvent(time=1000.0, state="finished", reason="r"))
    assert Delivery(run.folder, uri, EXPERIMENT).deliver() == 0
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    assert all(one.info.end_time >= one.info.start_time for one in runs)
    assert RunFolder(run.folder).story().state == "finished"
