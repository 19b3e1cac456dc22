"""The report of a run: from its journal, or from MLflow, through `analysis` into files, which MLflow gets too."""

from pathlib import Path
from typing import TYPE_CHECKING

from analysis import load, report
from analysis.heatmap import Caption
from sweeps.definition import Sweep
from sweeps.delivery import Tracking
from sweeps.home import Run
from sweeps.story import Story
from zoneout_core.errors import RunError

if TYPE_CHECKING:
    import pandas as pd


def has_plane(sweep: Sweep) -> bool:
    """Whether every trial has a place on the two axes of a heatmap."""
    return {sweep.x_axis, sweep.y_axis} <= set(sweep.search_space.always())


def write_report(run: Run, sweep: Sweep, story: Story) -> list[Path]:
    """Draw what the journal says; no files when the space spans no plane or no trial was asked for yet."""
    if not has_plane(sweep) or not story.trials:
        return []
    return _write(run, sweep, load.from_rows(story.rows(), sweep.metrics))


def rewrite_report(run: Run, from_mlflow: bool = False) -> list[Path]:
    """Draw a run again, from its journal or from what MLflow has of it.

    Raises `RunError` when the space spans no plane, no trial was asked for, or MLflow does not have the run.
    """
    sweep, story = run.definition(), run.story()
    if not has_plane(sweep) or not story.trials:
        always = ", ".join(sweep.search_space.always())
        what = "has no trial yet" if has_plane(sweep) else f"has in each of them {always}"
        raise RunError(
            f"A heatmap needs trials over {sweep.x_axis} and {sweep.y_axis}, but run {run.name} {what}. "
            f"See its numbers with: {run.command('export')}"
        )
    if not from_mlflow:
        return write_report(run, sweep, story)
    tracking = Tracking.of(run)
    return _write(run, sweep, load.trials(tracking.uri, tracking.experiment, run.name))


def _write(run: Run, sweep: Sweep, frame: "pd.DataFrame") -> list[Path]:
    base = sweep.base
    caption = Caption(
        sweep=run.name,
        task=base.task,
        cell=base.model.cell,
        layers=base.model.layers,
        hidden=base.model.hidden,
        epochs=base.epochs,
        metric=sweep.metrics.label,
    )
    return report.write(frame, run.report, caption, sweep.metrics.objective, sweep.x_axis, sweep.y_axis)
