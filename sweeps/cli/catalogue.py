"""`sweep ls` and `sweep show`: what can be run, and what was."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from search_spaces import Choice, Product, Range, Space, Switch
from sweeps import definition
from sweeps.books.run_folder import DEFAULT_HOME, Home, RunFolder
from sweeps.cli import options, text
from sweeps.definition import Sweep
from zoneout_core.config import registry
from zoneout_core.errors import ZoneoutError

_TOLD = ("task", "model.cell", "model.hidden_size", "epochs")
"""Keys of the base configuration that `sweep show` tells first even where they have their
default."""


def ls(
    home: options.HomeDir = DEFAULT_HOME,
    runs: Annotated[
        bool, typer.Option("--runs", help="List the runs of the home instead.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the sweeps that can be run, or the runs of a home."""
    if runs:
        found = [_run(run) for run in Home(home).runs()]
        options.show_json(found) if as_json else _show_runs(found, Home(home))
    else:
        sweeps = list(_sound_sweeps())
        options.show_json([_sweep(sweep) for sweep in sweeps]) if as_json else _show_sweeps(sweeps)


def _sound_sweeps() -> Iterator[Sweep]:
    """Every sweep that can be made; one that cannot does not hide the others."""
    for name in definition.names():
        try:
            yield definition.get(name)
        except Exception as error:
            text.echo(f"warning: sweep {name} is left out: {text.one_line(error)}", err=True)


def show(
    name: options.SweepName,
    settings: options.Settings = None,
    lanes: options.LanesOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the complete definition of a sweep, with what is set."""
    sweep = definition.get(name).with_values(options.parse(settings, lanes))
    if as_json:
        options.show_json(sweep.to_json())
        return
    from rich.padding import Padding

    console = text.console()
    console.print(f"{sweep.name}: {sweep.description}")
    plain = sweep.to_json()
    own = {key: text.listed(plain[key]) for key in definition.SETTABLE if key != "space"}
    searched = list(sweep.search_space.keys())
    base = {
        key: text.listed(value)
        for key, value in sweep.base.flat().items()
        if key not in [*searched, "seed"]
    }
    changed = {key: value for key, value in base.items() if key in [*_TOLD, *sweep.base.changed()]}
    for title, table in (
        (
            f"Searched, {sweep.cut or f'{sweep.max_trials} trials'}:",
            dict(_described(sweep.search_space)),
        ),
        ("Of the sweep:", own),
        ("Of every trial:", changed),
    ):
        console.print(f"\n{title}")
        console.print(Padding(text.pairs(table), (0, 0, 0, 2)))
    console.print("\nOf every trial, by default:")
    rest = ", ".join(f"{key}={value}" for key, value in base.items() if key not in changed)
    console.print(Padding(rest, (0, 0, 0, 2)))


def _described(space: Space, case: str = "") -> Iterator[tuple[str, str]]:
    """What each key of a space may be, in words."""
    match space:
        case Choice():
            yield space.key + case, text.listed(space.values)
        case Range():
            yield (
                space.key + case,
                f"{space.low} to {space.high}" + (", by its logarithm" if space.log else ""),
            )
        case Product():
            for part in space.parts:
                yield from _described(part, case)
        case Switch():
            yield space.key + case, text.listed([value for value, _ in space.cases])
            for value, inner in space.cases:
                here = f"{case} [{text.short(space.key)}={value}]"
                match list(islice(inner.corners(), 2)):
                    case [point]:  # a row of a table: its settings in one line
                        yield from [(here.strip(), text.assignment(point))] if point else []
                    case _:
                        yield from _described(inner, here)


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
    text.echo("\nSee all of one with: sweep show NAME   Begin it with: sweep run NAME")


def _size(sweep: Sweep) -> str:
    if sweep.scheduler == "none":
        stops = ""
    else:
        stops = f", stopped early by {sweep.scheduler}"
    return f"{sweep.max_trials} trials of {sweep.base.task}, chosen by {sweep.sampler}{stops}"


def _run(run: RunFolder) -> dict[str, Any]:
    """A run in a few words; one that cannot be read does not hide the others."""
    from sweeps.cli import summary

    try:
        with registry.using(run.own_plugins()):
            told = summary.of_run(run, run.definition(), run.story())
    except ZoneoutError as error:
        blank: dict[str, Any] = {"of": None, "counts": {}, "best": None, "objective": None}
        return {"run": run.name, "state": "unreadable", "reason": str(error)} | blank
    return {
        key: told[key] for key in ("run", "state", "reason", "of", "counts", "best", "objective")
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
        asked, best = sum(run["counts"].values()), run["best"]
        if run["of"]:
            trials = f"{asked} of {run['of']}" + (f": {counts}" if counts else "")
        else:
            trials = run["reason"]
        unit = (run["objective"] or "").rpartition("_")[2]
        table.add_row(
            run["run"], run["state"], trials, f"{text.number(best['best'])} {unit}" if best else ""
        )
    text.console().print(table)
