"""The report of a run: `analysis` draws it from the journal or from MLflow. MLflow gets the files
too."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import load, report
from analysis.caption import Caption, agreed
from analysis.points import SEED, Searched
from search_spaces import CHECKED, Space
from sweeps.books import trial_rows
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from sweeps.definition import Sweep
from sweeps.tracking.delivery import Tracking
from zoneout_core import tasks
from zoneout_core.config.keys import full_key
from zoneout_core.errors import RunError
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    import pandas as pd


def has_plane(sweep: Sweep) -> bool:
    """Whether every trial has a place on the two axes of a heatmap."""
    return {sweep.x_axis, sweep.y_axis} <= set(sweep.search_space.always())


def write_report(
    run: RunFolder, sweep: Sweep, story: Story, left: TrialState | None = None
) -> list[Path]:
    """Draw what the journal says. `left` is the state that unfinished trials will have, when their
    driver is just leaving.

    Raises `RunError` when there is nothing to draw, saying in one line what to do instead.
    """
    _require_plane(run, sweep)
    frame = load.from_rows(trial_rows.rows(story), sweep.metrics)
    if left is not None:
        finished = frame["state"].map(lambda state: TrialState(state).finished).astype(bool)
        frame["state"] = frame["state"].where(finished, str(left))
    return _write(run, sweep, frame)


def rewrite_report(
    run: RunFolder, from_mlflow: bool = False, x_axis: str = "", y_axis: str = ""
) -> list[Path]:
    """Draw a run again, from its journal or from MLflow; over its own axes unless others are named.

    Raises `RunError` when there is nothing to draw or MLflow does not have the run, and
    `UnknownName` for an axis that is no setting.
    """
    sweep = run.definition()
    sweep = replace(
        sweep, x_axis=_full(x_axis) or sweep.x_axis, y_axis=_full(y_axis) or sweep.y_axis
    )
    if not from_mlflow:
        return write_report(run, sweep, run.story())
    _require_plane(run, sweep)
    tracking = Tracking.of(run)
    try:
        frame = load.trials(tracking.uri, tracking.experiment, run.name)
    except RunError as error:
        raise RunError(f"{error} Bring it there with: {tracking.command(run)}") from error
    return _write(run, sweep, frame)


def caption(title: str, sweep: Sweep, frame: "pd.DataFrame") -> Caption:
    """The caption of a picture of these trials. It never states a setting in which they differ."""

    def shared(key: str) -> Any:
        base = sweep.base.value(key)
        if key not in frame.columns:
            return base
        # NaN stands where a key does not apply to a trial.
        return agreed(base if value is None or value != value else value for value in frame[key])

    layers = shared("model.num_layers")
    hidden = shared("model.hidden_size")
    epochs = shared("epochs")
    # The workload of semantic consistency is a recurrence on two numbers.
    has_network = tasks.get(sweep.base.task).workload != "consistency"
    return Caption(
        sweep=title,
        task=sweep.base.task,
        cell=shared("model.cell") if has_network else None,
        layers=int(layers) if layers is not None and has_network else None,
        hidden=int(hidden) if hidden is not None and has_network else None,
        epochs=None if epochs is None else int(epochs),
        metric=sweep.metrics.label,
        note=sweep.cut,
    )


def searched(sweep: Sweep) -> Searched:
    """The keys of the sweep's space, and its points. Of an endless or very large space the points
    have only the axes of the plane."""
    space = sweep.search_space
    keys = tuple(dict.fromkeys(key for key in space.keys() if key != SEED))
    if not any(space.ranges()):
        corners = list(islice(space.corners(), CHECKED + 1))
        if len(corners) <= CHECKED:
            return Searched(keys=keys, points=tuple(corners))
    values = _values(space)
    axes = [key for key in dict.fromkeys((sweep.x_axis, sweep.y_axis, SEED)) if key in values]
    points = product(*(values[key] for key in axes))
    return Searched(
        keys=keys,
        points=tuple(dict(zip(axes, point, strict=True)) for point in points),
        has_every_key=False,
    )


def _write(run: RunFolder, sweep: Sweep, frame: "pd.DataFrame") -> list[Path]:
    _require_number(run, frame)
    metric = sweep.metrics.objective
    return report.write(
        frame,
        run.report,
        caption(run.name, sweep, frame),
        metric,
        searched(sweep),
        sweep.x_axis,
        sweep.y_axis,
    )


def _require_plane(run: RunFolder, sweep: Sweep) -> None:
    """Raise `RunError` unless every trial has a number on both axes, from a list of values."""
    x, y, space = sweep.x_axis, sweep.y_axis, sweep.search_space
    endless = [part for part in space.ranges() if part.key in (x, y)]
    if x == y:
        problem = f"two axes, but in run {run.name} both are {x}"
    elif not has_plane(sweep):
        always = ", ".join(space.always()) or "nothing that is searched"
        problem = f"trials over {x} and {y}, but run {run.name} has in each of them {always}"
    elif endless:
        part = endless[0]
        problem = (
            f"axes of listed values, but in run {run.name} {part.key} is any number from"
            f" {part.low:g} to {part.high:g}"
        )
    else:
        return
    numbers = list(_listed_numbers(space))
    if len(numbers) < 2:
        raise RunError(f"A heatmap needs {problem}. See its numbers with: {run.command('export')}")
    axes = f"--x-axis {numbers[0]} --y-axis {numbers[1]}"
    raise RunError(
        f"A heatmap needs {problem}. Draw it over others with: {run.command('report')} {axes}"
    )


def _require_number(run: RunFolder, frame: "pd.DataFrame") -> None:
    """Raise `RunError` unless there is a complete trial, so that no empty picture is written."""
    states = {TrialState(state) for state in frame["state"]}
    if TrialState.COMPLETE in states:
        return
    if any(frame["epoch"] > 0):
        milestone = "is complete"
    else:
        milestone = "has a number"
    if not states or TrialState.INTERRUPTED in states:
        advice = f"Go on with: {run.command('resume')}"
    elif states & {TrialState.RUNNING, TrialState.WAITING}:
        advice = f"Watch it with: {run.command('status')}"
    else:
        advice = f"See why with: {run.command('status')}"
    raise RunError(
        f"A heatmap needs a complete trial, but no trial of run {run.name} {milestone} yet."
        f" {advice}"
    )


def _listed_numbers(space: Space) -> Iterator[str]:
    """Keys that could be axes: numbers that every trial has, with several listed values."""
    always = set(space.always()) - {SEED}
    for key, values in _values(space).items():
        numbers = all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in values
        )
        if key in always and numbers and len(values) > 1:
            yield key


def _values(space: Space) -> Mapping[str, list[object]]:
    """The values of every key that has finitely many of them."""
    endless = {part.key for part in space.ranges()}
    values_of: dict[str, dict[object, None]] = {}
    for point in space.bounds():
        for key, value in point.items():
            values_of.setdefault(key, {})[value] = None
    return {key: list(values) for key, values in values_of.items() if key not in endless}


def _full(key: str) -> str:
    """The full name of a key; empty for an empty one. Raises `UnknownName`."""
    if not key:
        return ""
    return full_key(key)
