"""`sweep ls` and `sweep show`: what can be run, and what was."""

from typing import Annotated, Any

import typer

from sweeps import definition
from sweeps.cli import options
from sweeps.home import Home, Run


def ls(
    home: options.HomeDir = options.DEFAULT_HOME,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs of the home instead.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the sweeps that can be run, or the runs of a home."""
    if runs:
        _show(
            [_run(run) for run in Home(home).runs()], as_json, f"No run in {home} yet. Begin one with: sweep run demo"
        )
    else:
        _show([_sweep(definition.get(name)) for name in definition.names()], as_json, "")


def show(
    name: options.SweepName,
    settings: options.Settings = None,
    lanes: options.Lanes = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the complete definition of a sweep, with what is set."""
    sweep = definition.get(name).with_values(options.parse(settings, lanes))
    plain = sweep.to_json()
    if as_json:
        options.show_json(plain)
        return
    from rich.console import Console
    from rich.pretty import Pretty

    console = Console()
    console.print(f"[bold]{sweep.name}[/bold]: {sweep.description}", highlight=False)
    console.print(f"{sweep.max_trials} trials over {', '.join(sweep.search_space.keys())}", highlight=False)
    console.print(Pretty(plain, expand_all=True))


def _sweep(sweep: definition.Sweep) -> dict[str, Any]:
    return {
        "sweep": sweep.name,
        "task": sweep.base.task,
        "trials": sweep.max_trials,
        "sampler": sweep.sampler,
        "scheduler": sweep.scheduler,
        "description": sweep.description,
    }


def _run(run: Run) -> dict[str, Any]:
    story = run.story()
    best = story.best
    return {
        "run": run.name,
        "state": story.state,
        "trials": len(story.trials),
        "of": run.definition().max_trials,
        **{str(state): count for state, count in story.counts.items()},
        "best": best.best.metrics["valid_chunked_bpc"] if best and best.best else None,
    }


def _show(table: list[dict[str, Any]], as_json: bool, empty: str) -> None:
    if as_json:
        options.show_json(table)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not table:
        console.print(empty)
        return
    columns = list(dict.fromkeys(key for row in table for key in row))
    shown = Table(*columns, box=box.SIMPLE_HEAD)
    for row in table:
        shown.add_row(*(_text(row.get(key, "")) for key in columns))
    console.print(shown)


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
