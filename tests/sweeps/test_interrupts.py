"""Ctrl-C once and twice, `sweep stop`: the driver leaves cleanly or at once, and a resume ends as if it had stayed."""

import time
from pathlib import Path

import psutil
import pytest

from sweeps.home import Run
from sweeps.interrupts import Interrupts
from tests.sweeps.driven import begin, call, curves, drive_inline, tiny
from tests.sweeps.driving import Driver, sweep_resume, sweep_run
from tests.sweeps.truths import check_books, check_mlflow, states
from zoneout_core.records import TrialState

EPOCHS, LANES = 24, 3
RECORDS = 10
"""Of 216: after so many the sweep is under way, and a command that starts then still finds it so."""
STOPPING = "Stopping after the updates under way; Ctrl-C again leaves at once.\n"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of the sweep that nobody interrupts."""
    sweep = tiny(epochs=EPOCHS)
    run = begin(tmp_path_factory.mktemp("undisturbed"), sweep)
    drive_inline(run, sweep)
    return curves(run)


def check_interrupted(run: Run, reason: str) -> None:
    """It was left cleanly, and says so everywhere."""
    story = run.story()
    assert (story.state, story.closed and story.closed["reason"]) == ("interrupted", reason)
    assert TrialState.INTERRUPTED in states(run)
    assert TrialState.RUNNING not in states(run)
    check_books(run)
    check_mlflow(run, "demo")


def check_resumes(driver: Driver, expected: str) -> None:
    assert "finished" in sweep_resume(driver.home, "--inline").wait()
    assert curves(driver.run) == expected
    check_books(driver.run)
    check_mlflow(driver.run, "demo")


def test_ctrl_c_stops_cleanly_says_how_to_go_on_and_the_resume_ends_as_if_it_had_not(
    tmp_path: Path, uri: str, expected: str
) -> None:
    driver = sweep_run(tmp_path / "home", "--inline", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    driver.interrupt()
    said = driver.wait(130)
    assert STOPPING in said
    assert said.endswith(f"Go on with: sweep resume {driver.run.name} --home {driver.home}\n")
    check_interrupted(driver.run, "stopped by SIGINT")
    check_resumes(driver, expected)


def test_sweep_stop_does_the_same_from_another_terminal(tmp_path: Path, uri: str, expected: str) -> None:
    driver = sweep_run(tmp_path / "home", "--inline", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    name = driver.run.name
    done = call("stop", name, "--home", str(driver.home))
    assert done.returncode == 0
    assert done.stdout.startswith(f"Asked the driver of {name} to stop. Go on later with: sweep resume {name}")
    assert f"Go on with: sweep resume {name}" in driver.wait(130)
    check_interrupted(driver.run, "asked to by `sweep stop`")
    check_resumes(driver, expected)


def test_ctrl_c_in_a_terminal_stops_a_sweep_under_ray_cleanly(tmp_path: Path, uri: str, expected: str) -> None:
    driver = sweep_run(tmp_path / "home", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    everyone = driver.processes()
    driver.interrupt(group=True)
    said = driver.wait(130)
    assert said.count(STOPPING) == 1
    check_interrupted(driver.run, "stopped by SIGINT")
    check_gone(everyone)
    check_resumes(driver, expected)


def test_ctrl_c_twice_leaves_at_once_and_loses_nothing(tmp_path: Path, uri: str, expected: str) -> None:
    driver = sweep_run(tmp_path / "home", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    everyone = driver.processes()
    driver.interrupt(group=True)
    time.sleep(0.1)
    begun = time.monotonic()
    driver.interrupt(group=True)
    said = driver.wait(130)
    assert time.monotonic() - begun < 3
    assert said.endswith(f"Left at once. Go on with: {driver.run.command('resume')}\n")
    assert driver.run.story().state == "interrupted"
    check_gone(everyone)
    check_resumes(driver, expected)


def check_gone(processes: list[psutil.Process]) -> None:
    """No process is left after a few seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def test_the_time_budget_counts_from_the_drivers_start(tmp_path: Path) -> None:
    run = begin(tmp_path, tiny())
    with Interrupts(run, 0.2, lambda text: None) as spent, Interrupts(run, 0, lambda text: None) as endless:
        assert not spent()
        time.sleep(0.25)
        assert spent()
        assert (spent.budget_spent, spent.reason) == (True, "the time budget is spent")
        assert not endless()
