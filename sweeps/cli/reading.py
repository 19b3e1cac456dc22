"""`sweep status`, `export`, `report` and `ui`: what only looks at a run."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sweeps.cli import options
from sweeps.home import Home
from sweeps.story import Story


def status(
    name: options.RunName, home: options.HomeDir = options.DEFAULT_HOME, as_json: options.AsJson = False
) -> None:
    """Say how a run stands: its driver, its trials, the best so far."""
    run = Home(home).run(name)
    story = run.story()
    rows = [_trial(story, number) for number in sorted(story.trials)]
    if as_json:
        counts = {str(state): count for state, count in story.counts.items()}
        of = run.definition().max_trials
        options.show_json({"run": run.name, "state": story.state, "of": of, "counts": counts, "trials": rows,
                           "warnings": story.warnings})  # fmt: skip
        return
    from sweeps.cli import progress

    progress.show(story, run.definition(), run.name)


def export(
    name: options.RunName,
    home: options.HomeDir = options.DEFAULT_HOME,
    format: Annotated[Literal["csv", "json"], typer.Option("--format", help="Of the table.")] = "csv",
    curves: Annotated[bool, typer.Option("--curves", help="One row per trial and epoch.")] = False,
    no_times: Annotated[
        bool, typer.Option("--no-times", help="Leave wall times out: equal sweeps then export equal bytes.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there, not to stdout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print one row per trial, or per trial and epoch. Floats are exact."""
    from sweeps import export as exporting

    table = exporting.rows(Home(home).run(name).story(), curves=curves, times=not no_times)
    text = exporting.render(table, "json" if as_json else format)
    if out:
        out.write_text(text)
    else:
        typer.echo(text, nl=False)


def report(
    name: options.RunName,
    home: options.HomeDir = options.DEFAULT_HOME,
    from_mlflow: Annotated[bool, typer.Option("--from-mlflow", help="Of what MLflow has, not the journal.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Draw the heatmap of a run again: PNG, SVG and CSV."""
    from sweeps.report import rewrite_report

    run = Home(home).run(name)
    files = rewrite_report(run, from_mlflow)
    if as_json:
        options.show_json({"run": run.name, "report": [str(file) for file in files]})
    else:
        for file in files:
            typer.echo(str(file))


def ui(
    name: Annotated[str, typer.Argument(metavar="[RUN]", help="A run, or `latest`.")] = "latest",
    home: options.HomeDir = options.DEFAULT_HOME,
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 picks a free one.")] = 5000,
    as_json: options.AsJson = False,
) -> None:
    """Serve the MLflow UI of a run on the loopback, and print its address. Ctrl-C ends it."""
    from sweeps.ui import serve

    run = Home(home).run(name)

    def say(text: str) -> None:
        if as_json:
            options.show_json({"run": run.name, "message": text})
        else:
            typer.echo(text)

    serve(run, port, say)


def _trial(story: Story, number: int) -> dict[str, Any]:
    trial = story.trials[number]
    best = trial.best
    return {
        "trial": number,
        "params": trial.params,
        "seed": trial.seed,
        "state": str(trial.state),
        "reason": trial.reason,
        "epoch": trial.epoch,
        "best": best.metrics["valid_chunked_bpc"] if best else None,
    }
