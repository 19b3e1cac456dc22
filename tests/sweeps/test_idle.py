"""What a trial costs besides training."""

import cProfile
import pstats
from pathlib import Path

from sweeps import definition, runner
from sweeps.books.run_folder import Home
from sweeps.runner import DriveOptions

LIMIT = 5000
"""Function calls of an idle trial: a measure of work that no machine and no load changes. In
November 2026 there were 4,000, in 2 to 3 ms."""


def calls_of_a_sweep(home: Path, num_trials: int) -> int:
    """Function calls of an inline sweep whose trials do no work."""
    values = {"space": "learning_rate", "sampler": "random", "num_trials": num_trials, "lanes": 4}
    run = runner.begin(Home(home), definition.get("demo").with_values(values))
    drive_options = DriveOptions(data=home, inline=True, tracking="none", idle=True)
    profile = cProfile.Profile()
    profile.enable()
    runner.drive(run, run.definition(), drive_options, print)
    profile.disable()
    return int(pstats.Stats(profile).total_calls)


def test_an_idle_trial_costs_little_and_no_more_when_there_are_many(tmp_path: Path) -> None:
    calls_of_a_sweep(tmp_path, 4)  # what is read and cached once
    none, some, more = (calls_of_a_sweep(tmp_path, number) for number in (10, 110, 210))
    first, second = (some - none) / 100, (more - some) / 100
    assert first < LIMIT
    assert second < LIMIT
    assert second < 1.2 * first
