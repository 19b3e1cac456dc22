"""The summary of a run that `sweep run`, `resume` and `status` print with `--json`, and from which
`sweep ls --runs` takes its columns."""

import time

from sweeps.books import trial_rows
from sweeps.books.events import DriverEvent
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story, TrialStory
from sweeps.cli.picture import elapsed
from sweeps.definition import Sweep


def of_run(run: RunFolder, sweep: Sweep, story: Story) -> dict[str, object]:
    """The summary of a run."""
    return {
        "run": run.name,
        "folder": str(run.folder),
        "sweep": sweep.name,
        "objective": sweep.metrics.objective,
        "state": story.state,
        "reason": story.closed.reason if story.closed else "",
        "driver": _driver(story.driver),
        "seconds": elapsed(story, time.time()),
        "of": sweep.max_trials,
        "cut": sweep.cut,
        "counts": {str(state): count for state, count in story.counts.items()},
        "best": of_trial(story.best) if story.best else None,
    }


def _driver(event: DriverEvent | None) -> dict[str, object] | None:
    if event is None:
        return None
    return {name: getattr(event, name) for name in ("mode", "pid", "host", "time")}


def of_trial(trial: TrialStory) -> dict[str, object]:
    """The summary of a trial; `best` is its lowest objective, at `best_epoch`."""
    row = trial_rows.row(trial)
    facts = row.facts()
    del facts["shape_key"]
    return {
        **facts,
        "params": row.params,
        "best": row.best_value,
        "best_epoch": row.best.epoch if row.best else None,
    }
