"""`sweep run`, `resume` and `stop`: what they print, and how they end."""

import json
import signal
import subprocess
import time
from pathlib import Path

from sweeps.books.run_folder import Home, RunFolder
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import TINY, call, command, settings, told


def test_a_run_prints_one_document_with_json(tmp_path: Path) -> None:
    done = sweep(
        "run",
        "demo",
        *settings(TINY | {"num_trials": "2"}),
        "--inline",
        "--tracking",
        "none",
        "--home",
        tmp_path,
        "--json",
    )
    ran = json.loads(done.out)
    run = Home(tmp_path).run("latest")
    cut = "2 of 9 points of the grid, the first in its order"
    assert (done.code, done.err) == (0, f"Run {run.name} in {tmp_path}\n{cut}\n")
    assert ran["cut"] == cut
    assert (ran["run"], ran["state"], ran["counts"], ran["of"]) == (
        run.name,
        "finished",
        {"complete": 2},
        2,
    )
    assert ran["undelivered"] == 0
    assert all(Path(file).is_file() for file in ran["report"])


def test_a_sweep_whose_trials_all_fail_ends_with_1(tmp_path: Path) -> None:
    diverging = TINY | {"num_trials": "2", "learning_rate": "1e30", "clip_norm": "inf"}
    done = sweep(
        "run", "demo", *settings(diverging), "--inline", "--tracking", "none", "--home", tmp_path
    )
    assert done.code == 1, done.out
    assert "2 of 2 trials: 2 failed" in done.out
    assert "diverged" in done.err


def test_ctrl_c_saves_and_resume_gives_what_would_have_been(
    finished: RunFolder, tmp_path: Path
) -> None:
    """As processes of their own, because signals are theirs."""
    how = ["--inline", "--tracking", "none", "--json"]
    driver = subprocess.Popen(
        command(tmp_path, "run", "demo", *settings(), "--lanes", "2", *how),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not any(
        trial.records for run in Home(tmp_path).runs() for trial in run.story().trials.values()
    ):
        assert time.monotonic() < until, "no record within a minute"
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert (driver.returncode, json.loads(out)["state"]) == (130, "interrupted"), err
    assert "Traceback" not in err
    assert "Stopping after the updates under way; Ctrl-C again leaves at once." in err
    resumed = told(call("resume", "latest", *how, "--home", str(tmp_path)))
    assert (resumed["state"], resumed["counts"]) == ("finished", {"complete": 9})
    tables = [sweep("export", "latest", "--home", home, "--no-times", "--curves").out
              for home in (tmp_path, finished.folder.parent)]  # fmt: skip
    assert tables[0] == tables[1]


def test_a_driven_run_is_asked_to_stop(copied: RunFolder) -> None:
    with copied.driving():
        done = sweep("stop", "latest", *home_of(copied))
        assert copied.stop_requested()
        assert (
            json.loads(sweep("stop", "latest", *home_of(copied), "--json").out)["stop"]
            == "requested"
        )
    go_on = f"sweep resume {copied.name} --home {copied.folder.parent}"
    assert done == (
        0,
        f"Asked the driver of {copied.name} to stop. Continue later with: {go_on}\n",
        "",
    )
