"""`sweep status`, `export`, `report` and `ui`: the commands that only read a run."""

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeps.books.run_folder import DEFAULT_HOME, Home, RunFolder
from sweeps.books.story import Story
from sweeps.cli import options, text
from zoneout_core.errors import HomeError

_AXIS = "Draw this searched setting, not the one of the definition."


def status(
    name: options.RunName, home: options.HomeDir = DEFAULT_HOME, as_json: options.AsJson = False
) -> None:
    """Show the state of a run, its trials and the best one so far."""
    from sweeps.cli import summary
    from sweeps.cli.picture import picture

    run = Home(home).run(name)
    run.use_plugins()
    story, sweep = run.story(), run.definition()
    if as_json:
        trials = [summary.of_trial(story.trials[number]) for number in sorted(story.trials)]
        options.show_json(
            summary.of_run(run, sweep, story) | {"trials": trials, "warnings": story.warnings}
        )
        return
    console = text.console()
    for line in _heading(run, story):
        console.print(line, soft_wrap=True)
    console.print(picture(story, sweep, time.time()))
    for warning in story.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if story.state in ("new", "interrupted", "failed"):
        console.print(f"Go on with: {run.command('resume')}", soft_wrap=True)


def _heading(run: RunFolder, story: Story) -> list[str]:
    if story.closed:
        reason = f" ({story.closed.reason})"
    else:
        reason = ""
    lines = [f"{run.name}: {story.state}{reason}", f"folder: {run.folder}"]
    if story.driver:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(story.driver.time))
        lines.append(
            f"driver: {story.driver.mode}, process {story.driver.pid} on"
            f" {story.driver.host}, began {since}"
        )
    return lines


def export(
    name: options.RunName,
    home: options.HomeDir = DEFAULT_HOME,
    format: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="Format of the table.")
    ] = "csv",
    curves: Annotated[bool, typer.Option("--curves", help="One row per trial and epoch.")] = False,
    no_times: Annotated[
        bool,
        typer.Option(
            "--no-times", help="Leave out wall times, so that equal sweeps export equal bytes."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write to this file, not to stdout."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print one row per trial, or per trial and epoch. Floats are exact."""
    from sweeps.books import export as exporting

    table = exporting.rows(Home(home).run(name).story(), curves=curves, times=not no_times)
    rendered = exporting.render(table, "json" if as_json else format)
    if out is None:
        typer.echo(text.plain(rendered) if sys.stdout.isatty() else rendered, nl=False)
        return
    try:
        out.write_text(rendered)
    except OSError as error:
        raise HomeError(
            f"--out needs a file that can be written, but {out}: {error.strerror}. Name another."
        ) from error


def report(
    name: options.RunName,
    home: options.HomeDir = DEFAULT_HOME,
    from_mlflow: Annotated[
        bool, typer.Option("--from-mlflow", help="Draw what MLflow has, not what the journal has.")
    ] = False,
    x_axis: Annotated[str, typer.Option("--x-axis", metavar="KEY", help=_AXIS)] = "",
    y_axis: Annotated[str, typer.Option("--y-axis", metavar="KEY", help=_AXIS)] = "",
    as_json: options.AsJson = False,
) -> None:
    """Draw the heatmap of a run again: PNG, SVG and CSV."""
    from sweeps.report import rewrite_report

    run = Home(home).run(name)
    run.use_plugins()
    files = rewrite_report(run, from_mlflow, x_axis, y_axis)
    if as_json:
        options.show_json({"run": run.name, "report": [str(file) for file in files]})
    else:
        for file in files:
            text.echo(str(file))


def ui(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run of `sweep ls --runs`.")
    ] = "latest",
    home: options.HomeDir = DEFAULT_HOME,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, help="Port to listen on; 0 picks a free one."
        ),
    ] = 5000,
    as_json: options.AsJson = False,
) -> None:
    """Serve MLflow's pages about a run, on the loopback only. Ctrl-C ends it."""
    from sweeps.tracking.ui import serve

    run = Home(home).run(name)
    text.echo("MLflow takes a few seconds to start ...", err=True)
    messages: list[str] = []

    def say(message: str) -> None:
        if as_json and not messages:  # the address is the one JSON document on stdout
            options.show_json({"run": run.name, "message": message})
        else:
            text.echo(message, err=as_json)
        messages.append(message)

    serve(run, port, say)
