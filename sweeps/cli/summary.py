"""What `sweep run`, `resume` and `status` say of a run with `--json`, and what `sweep ls --runs`
says of each."""

import time
from typing import Any

from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story, TrialStory
from sweeps.cli.picture import elapsed
from sweeps.definition import Sweep


def of_run(run: RunFolder, sweep: Sweep, story: Story) -> dict[str, Any]:
    """The run as a whole."""
    driver = story.driver
    return {
        "run": run.name,
        "folder": str(run.folder),
        "sweep": sweep.name,
        "objective": sweep.metrics.objective,
        "state": story.state,
        "reason": story.closed["reason"] if story.closed else "",
        "driver": {key: driver[key] for key in ("mode", "pid", "host", "time")} if driver else None,
        "seconds": elapsed(story, time.time()),
        "of": sweep.max_trials,
        "cut": sweep.cut,
        "counts": {str(state): count for state, count in story.counts.items()},
        "best": of_trial(story.best) if story.best else None,
    }


def of_trial(trial: TrialStory) -> dict[str, Any]:
    """One trial; `best` is its lowest objective, at `best_epoch`."""
    best = trial.best
    return {
        "trial": trial.trial,
        "params": trial.params,
        "seed": trial.seed,
        "state": str(trial.state),
        "reason": trial.reason,
        "epoch": trial.epoch,
        "best": trial.value(best) if best else None,
        "best_epoch": best.epoch if best else None,
    }
