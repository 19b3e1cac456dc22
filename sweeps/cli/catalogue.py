"""`sweep ls`: what can be run, and what was."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from sweeps import definition
from sweeps.books.run_folder import DEFAULT_HOME, Home, RunFolder
from sweeps.cli import options, text
from sweeps.definition import Sweep
from zoneout_core.config import registry
from zoneout_core.errors import ZoneoutError


def ls(
    home: options.HomeDir = DEFAULT_HOME,
    runs: Annotated[
        bool, typer.Option("--runs", help="List the runs of the home instead.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the sweeps that can be run, or the runs of a home."""
    if runs:
        summaries = [_run(run) for run in Home(home).runs()]
        if as_json:
            options.show_json(summaries)
        else:
            _show_runs(summaries, Home(home))
        return
    sweeps = list(_sound_sweeps())
    if as_json:
        options.show_json([_sweep(sweep) for sweep in sweeps])
    else:
        _show_sweeps(sweeps)


def _sound_sweeps() -> Iterator[Sweep]:
    """Every sweep whose file is sound. A broken one is warned about and does not hide the
    others."""
    for name in definition.names():
        try:
            yield definition.get(name)
        except Exception as error:
            text.echo(f"warning: sweep {name} is left out: {text.one_line(error)}", err=True)


def _sweep(sweep: Sweep) -> dict[str, object]:
    return {
        "sweep": sweep.name,
        "task": sweep.base.task,
        "trials": sweep.max_trials,
        "sampler": sweep.sampler,
        "scheduler": sweep.scheduler,
        "description": sweep.description,
    }


def _show_sweeps(sweeps: list[Sweep]) -> None:
    text.console().print(
        text.pairs({sweep.name: f"{sweep.description}\n{_size(sweep)}" for sweep in sweeps})
    )
    text.echo("\nSee a whole definition with: sweep show NAME   Run it with: sweep run NAME")


def _size(sweep: Sweep) -> str:
    if sweep.scheduler == "none":
        stops = ""
    else:
        stops = f", stopped early by {sweep.scheduler}"
    return f"{sweep.max_trials} trials of {sweep.base.task}, chosen by {sweep.sampler}{stops}"


def _run(run: RunFolder) -> dict[str, Any]:
    """A run in a few words. One that cannot be read is marked, and does not hide the others."""
    from sweeps.cli import summary

    try:
        with registry.using(run.own_plugins()):
            summary_of_run = summary.of_run(run, run.definition(), run.story())
    except ZoneoutError as error:
        blank: dict[str, Any] = {"of": None, "counts": {}, "best": None, "objective": None}
        return {"run": run.name, "state": "unreadable", "reason": str(error)} | blank
    return {
        key: summary_of_run[key]
        for key in ("run", "state", "reason", "of", "counts", "best", "objective")
    }


def _show_runs(runs: list[dict[str, Any]], home: Home) -> None:
    from rich import box
    from rich.table import Table

    if not runs:
        text.echo(f"No run in {home.folder} yet. Begin one with: {home.command('run', 'demo')}")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("run", "state", "trials", "best"):
        table.add_column(
            column, no_wrap=column != "trials", justify="right" if column == "best" else "left"
        )
    for run in runs:
        counts = ", ".join(f"{count} {state}" for state, count in run["counts"].items())
        if not run["of"]:
            trials = run["reason"]
        else:
            trials = f"{sum(run['counts'].values())} of {run['of']}"
            if counts:
                trials += f": {counts}"
        best = ""
        if run["best"]:
            unit = (run["objective"] or "").rpartition("_")[2]
            best = f"{text.number(run['best']['best'])} {unit}"
        table.add_row(run["run"], run["state"], trials, best)
    text.console().print(table)
