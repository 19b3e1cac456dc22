"""The report of a run: from its journal, or from MLflow, through `analysis` into files, which MLflow gets too."""

from pathlib import Path

from analysis import load, report
from analysis.heatmap import Caption
from sweeps.definition import Sweep
from sweeps.delivery import Tracking
from sweeps.home import Run
from sweeps.story import Story
from zoneout_core.errors import RunError


def has_plane(sweep: Sweep) -> bool:
    """Whether the space spans the two axes of a heatmap."""
    return {sweep.x_axis, sweep.y_axis} <= set(sweep.search_space.keys())


def write_report(run: Run, sweep: Sweep, story: Story) -> list[Path]:
    """Draw what the journal says; no files when the space spans no plane or no trial was asked for yet."""
    if not has_plane(sweep) or not story.trials:
        return []
    frame = load.from_rows(story.rows())
    return report.write(frame, run.report, _caption(run, sweep), sweep.x_axis, sweep.y_axis)


def rewrite_report(run: Run, from_mlflow: bool = False) -> list[Path]:
    """Draw a run again, from its journal or from what MLflow has of it.

    Raises `RunError` when the space spans no plane, no trial was asked for, or MLflow does not have the run.
    """
    sweep, story = run.definition(), run.story()
    if not has_plane(sweep) or not story.trials:
        what = "has no trial yet" if has_plane(sweep) else f"searches {', '.join(sweep.search_space.keys())}"
        raise RunError(
            f"A heatmap needs trials over {sweep.x_axis} and {sweep.y_axis}, but run {run.name} {what}. "
            f"See its numbers with: {run.command('export')}"
        )
    if not from_mlflow:
        return write_report(run, sweep, story)
    tracking = Tracking.of(run)
    frame = load.trials(tracking.uri, tracking.experiment, run.name)
    return report.write(frame, run.report, _caption(run, sweep), sweep.x_axis, sweep.y_axis)


def _caption(run: Run, sweep: Sweep) -> Caption:
    return Caption(sweep=run.name, task=sweep.base.task, hidden=sweep.base.model.hidden, epochs=sweep.base.epochs)
