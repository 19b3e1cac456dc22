"""Signals once and twice, `sweep stop`: the driver leaves cleanly or at once, and a resume ends as
if it had stayed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sweeps.books.run_folder import RunFolder
from sweeps.drivers.interrupts import Interrupts
from tests.sweeps.driven import begin, call, curves, drive_inline, tiny
from tests.sweeps.driving import Driver, sweep_resume, sweep_run
from tests.sweeps.truths import check_books, check_mlflow, states
from zoneout_core.records import TrialState

EPOCHS, LANES = 10, 3
RECORDS = 6
"""Of 90: after so many the sweep is under way, and a command that starts then still finds it so."""
STOPPING = "Stopping after the updates under way; Ctrl-C again leaves at once.\n"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of the sweep that nobody interrupts."""
    sweep = tiny(epochs=EPOCHS)
    run = begin(tmp_path_factory.mktemp("undisturbed"), sweep)
    drive_inline(run, sweep)
    return curves(run)


def check_interrupted(run: RunFolder, reason: str) -> None:
    """It was left cleanly, and says so everywhere."""
    story = run.story()
    assert (story.state, story.closed and story.closed.reason) == ("interrupted", reason)
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


def test_sweep_stop_does_the_same_from_another_terminal(
    tmp_path: Path, uri: str, expected: str
) -> None:
    driver = sweep_run(tmp_path / "home", "--inline", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    name = driver.run.name
    done = call("stop", name, "--home", str(driver.home))
    assert done.returncode == 0
    assert done.stdout.startswith(
        f"Asked the driver of {name} to stop. Continue later with: sweep resume {name}"
    )
    assert f"Go on with: sweep resume {name}" in driver.wait(130)
    check_interrupted(driver.run, "asked to by `sweep stop`")
    check_resumes(driver, expected)


def test_ctrl_c_in_a_terminal_stops_a_sweep_under_ray_cleanly(
    tmp_path: Path, uri: str, expected: str
) -> None:
    driver = sweep_run(tmp_path / "home", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    everyone = driver.processes()
    driver.interrupt(group=True)
    said = driver.wait(130)
    assert said.count(STOPPING) == 1
    check_interrupted(driver.run, "stopped by SIGINT")
    check_gone(everyone)
    check_resumes(driver, expected)


def test_ctrl_c_twice_leaves_at_once_and_loses_nothing(
    tmp_path: Path, uri: str, expected: str
) -> None:
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


@pytest.mark.parametrize("how", [["--inline"], []], ids=["inline", "ray"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_asks_to_stop_stops_as_ctrl_c_does(
    tmp_path: Path, uri: str, expected: str, number: signal.Signals, how: list[str]
) -> None:
    """Slurm, systemd, Docker and Kubernetes send SIGTERM, a terminal that is closed sends
    SIGHUP."""
    driver = sweep_run(tmp_path / "home", *how, epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    everyone = driver.processes()
    driver.process.send_signal(number)
    said = driver.wait(130)
    assert said.count(STOPPING) == 1
    assert "SIGTERM received" not in said, "that would be Ray's C++"
    assert said.endswith(f"Go on with: sweep resume {driver.run.name} --home {driver.home}\n")
    check_interrupted(driver.run, f"stopped by {number.name}")
    check_gone(everyone)
    check_resumes(driver, expected)


def test_a_signal_while_ray_starts_is_heard_too(tmp_path: Path) -> None:
    driver = sweep_run(tmp_path / "home", "--tracking", "none", epochs=EPOCHS, lanes=LANES)
    driver.until(lambda story: story.state == "running")
    until = time.monotonic() + 60
    while (
        len(driver.processes()) < 3 and time.monotonic() < until
    ):  # GCS and raylet, before any worker
        time.sleep(0.02)
    driver.process.send_signal(signal.SIGTERM)
    assert f"Go on with: sweep resume {driver.run.name} --home {driver.home}\n" in driver.wait(130)
    assert driver.run.story().state == "interrupted"


def test_sigterm_for_a_whole_group_fails_no_trial(tmp_path: Path, expected: str) -> None:
    """As systemd and Slurm send it: to Ray's processes too, which end at once."""
    driver = sweep_run(tmp_path / "home", "--tracking", "none", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    os.killpg(driver.process.pid, signal.SIGTERM)
    driver.wait(130)
    assert driver.run.story().state == "interrupted"
    assert set(states(driver.run)) <= {TrialState.INTERRUPTED, TrialState.COMPLETE}
    assert "finished" in sweep_resume(driver.home, "--inline", "--tracking", "none").wait()
    assert curves(driver.run) == expected


def test_ray_without_its_control_process_ends_the_sweep_with_the_command_that_goes_on(
    tmp_path: Path, expected: str
) -> None:
    driver = sweep_run(tmp_path / "home", "--tracking", "none", epochs=EPOCHS, lanes=LANES)
    driver.until_records(RECORDS)
    everyone = driver.processes()
    (gcs,) = [process for process in everyone if process.name() == "gcs_server"]
    begun = time.monotonic()
    gcs.kill()
    said = driver.wait(2)
    assert time.monotonic() - begun < 45, "Ray itself takes 60 s to say so"
    assert "The program will terminate" not in said
    assert "error: A sweep needs Ray's control process, but nobody answers at " in said
    assert said.endswith(f"Go on with: sweep resume {driver.run.name} --home {driver.home}\n")
    check_gone(everyone)
    assert "finished" in sweep_resume(driver.home, "--inline", "--tracking", "none").wait()
    assert curves(driver.run) == expected


def test_ctrl_c_that_takes_the_readers_of_a_pipe_with_it_fails_no_trial(
    tmp_path: Path, expected: str
) -> None:
    """`sweep run ... 2>&1 | tee log`: Ctrl-C ends tee too, and nobody reads what is said from then
    on."""
    home = tmp_path / "home"
    driver = sweep_run(
        home, "--inline", "--tracking", "none", epochs=EPOCHS, lanes=LANES, piped=True
    )
    driver.until_records(RECORDS)
    assert driver.process.stdout is not None
    driver.process.stdout.close()
    driver.interrupt()
    assert driver.process.wait(90) == 130
    check_books(driver.run)
    assert driver.run.story().state == "interrupted"
    assert set(states(driver.run)) <= {TrialState.INTERRUPTED, TrialState.COMPLETE}
    assert "finished" in sweep_resume(home, "--inline", "--tracking", "none").wait()
    assert curves(driver.run) == expected


def test_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    run = begin(tmp_path, tiny())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts(run, 0, lambda text: None) as interrupts:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupts()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_handler_raises_nothing_into_what_trains_and_its_echo_is_no_second_signal(
    tmp_path: Path,
) -> None:
    run = begin(tmp_path, tiny())

    def nobody_reads(text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    handlers = [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ]
    with Interrupts(run, 0, nobody_reads) as interrupts:
        assert not interrupts()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # `timeout` sends it to the process and to its group
        signal.raise_signal(signal.SIGHUP)  # a terminal may hang up several times
        assert interrupts()
        assert interrupts.reason == "stopped by SIGTERM"
    assert [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ] == handlers


def test_handlers_that_another_took_are_taken_back(tmp_path: Path) -> None:
    with Interrupts(begin(tmp_path, tiny()), 0, lambda text: None) as interrupts:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as `ray.init` does
        interrupts.listen()
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.reason == "stopped by SIGTERM"


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1.0])
def test_ctrl_c_while_it_is_imported_leaves_no_traceback(tmp_path: Path, seconds: float) -> None:
    """From when the interpreter has begun with our code, which is told by a module of ours being
    there."""
    begin_here = "import sweeps.cli.streams as s; print('.', flush=True); from sweeps.cli import main; main()"
    tiny_sweep = ["run", "demo", "--inline", "--tracking", "none", "--home", str(tmp_path / "home")]
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nsys.argv[0] = 'sweep'\n{begin_here}", *tiny_sweep],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=90)
    assert process.returncode == 130, error
    assert "Traceback" not in error


def check_gone(processes: list[psutil.Process]) -> None:
    """No process is left after a few seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def test_the_time_budget_counts_from_the_drivers_start(tmp_path: Path) -> None:
    run = begin(tmp_path, tiny())
    with (
        Interrupts(run, 0.2, lambda text: None) as spent,
        Interrupts(run, 0, lambda text: None) as endless,
    ):
        assert not spent()
        time.sleep(0.25)
        assert spent()
        assert (spent.budget_spent, spent.reason) == (True, "the time budget is spent")
        assert not endless()
