"""Sweeps under a real Ray: the numbers of an inline sweep, whichever of its processes is killed,
and true states."""

import re
from pathlib import Path

import psutil
import pytest

from tests.sweeps.driven import begin, curves, drive_inline, tiny
from tests.sweeps.driving import sweep_resume, sweep_run
from tests.sweeps.truths import check_books, check_mlflow, states
from zoneout_core.records import TrialState

EPOCHS, LANES = 6, 3
CLIENT, SERVER = "ray::ResourceTrainable.train", "ray::LaneActor"
"""Titles of processes; Tune wraps a trainable to give it resources."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of the same sweep, inline and undisturbed."""
    sweep = tiny(epochs=EPOCHS)
    run = begin(tmp_path_factory.mktemp("inline"), sweep)
    drive_inline(run, sweep)
    return curves(run)


def test_its_clients_and_its_lane_server_may_die_and_the_numbers_are_those_of_an_inline_sweep(
    tmp_path: Path, uri: str, expected: str
) -> None:
    driver = sweep_run(tmp_path / "home", epochs=EPOCHS, lanes=LANES)
    driver.until_records(3)
    driver.workers(CLIENT, 1)[0].kill()
    driver.until_records(15)
    server, *_ = driver.workers(SERVER, 1)
    server.kill()
    driver.until_records(25)
    assert server.pid not in {process.pid for process in driver.workers(SERVER, 1)}
    everyone = driver.processes()
    assert "finished" in driver.wait()
    assert curves(driver.run) == expected
    check_books(driver.run)
    check_mlflow(driver.run, "demo")
    (warning,) = (
        driver.run.story().warnings
    )  # of the client: a server that died is nobody's failure
    assert re.match(r"Trial \d is put on a lane again: .+", warning)
    assert not (driver.run.folder / "tune").exists()
    _, alive = psutil.wait_procs(everyone, timeout=10)
    assert alive == []


def test_begun_with_ray_killed_resumed_inline_killed_and_ended_with_ray(
    tmp_path: Path, uri: str, expected: str
) -> None:
    home = tmp_path / "home"
    driver = sweep_run(home, epochs=EPOCHS, lanes=LANES)
    for records, how in ((10, ["--inline"]), (25, [])):
        driver.until_records(records)
        driver.kill()
        driver = sweep_resume(home, *how)
    driver.until_records(38)
    driver.kill()
    assert "finished" in sweep_resume(home).wait()
    assert curves(driver.run) == expected
    check_books(driver.run)
    check_mlflow(driver.run, "demo")


def test_a_client_that_dies_more_often_than_is_tolerated_fails_its_trial_alone(
    tmp_path: Path, uri: str, expected: str
) -> None:
    driver = sweep_run(tmp_path / "home", epochs=EPOCHS, lanes=LANES, max_failures=0)
    driver.until_records(3)
    driver.workers(CLIENT, 1)[0].kill()
    assert "finished" in driver.wait()
    told = states(driver.run)
    assert told.count(TrialState.FAILED) == 1
    assert told.count(TrialState.COMPLETE) == 8
    lost = told.index(TrialState.FAILED)
    assert "died" in driver.run.story().trials[lost].reason
    kept = [line for line in expected.splitlines() if not line.startswith(f"{lost},")]
    assert [
        line for line in curves(driver.run).splitlines() if not line.startswith(f"{lost},")
    ] == kept
    check_books(driver.run)
    check_mlflow(driver.run, "demo")


def test_a_journal_that_cannot_be_written_ends_the_sweep_with_its_error(
    tmp_path: Path, expected: str
) -> None:
    home = tmp_path / "home"
    driver = sweep_run(home, "--tracking", "none", epochs=EPOCHS, lanes=LANES)
    driver.until_records(4)
    run = driver.run
    with driver.stopped():
        kept = run.journal.read_bytes()
        run.journal.unlink()
    assert (
        f"error: The journal {run.journal} must take every event, but cannot be written: the file was deleted. "
        f"Mend that, then go on with: {run.command('resume')}\n"
    ) in driver.wait(2)
    run.journal.write_bytes(kept)
    assert drive_inline(run, run.definition()).state == "finished"
    assert curves(run) == expected
    check_books(run)
