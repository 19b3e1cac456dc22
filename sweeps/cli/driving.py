"""`sweep run`, `resume`, `stop` and `deliver`: what changes a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps import definition
from sweeps.cli import options
from sweeps.definition import Sweep
from sweeps.home import Home, Run, open_run

if TYPE_CHECKING:
    from sweeps.runner import Outcome

Inline = Annotated[bool, typer.Option("--inline", help="In this one process, without Ray: same trials, same numbers.")]
Address = Annotated[
    str, typer.Option("--address", metavar="ADDRESS", help="A Ray cluster (`auto`, host:port) in place of a local Ray.")
]
TrackingUri = Annotated[
    str,
    typer.Option("--tracking", metavar="URI", envvar="MLFLOW_TRACKING_URI", show_default="HOME/mlflow.db",
                 help="MLflow's tracking URI; `none` delivers later (sweep deliver)."),
]  # fmt: skip


def run(
    name: options.SweepName,
    settings: options.Settings = None,
    lanes: options.Lanes = None,
    home: options.HomeDir = options.DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: Inline = False,
    address: Address = "local",
    tracking: TrackingUri = "",
    as_json: options.AsJson = False,
) -> None:
    """Run a sweep, from its first trial to its heatmap. Ctrl-C stops cleanly; `sweep resume` goes on."""
    sweep = definition.get(name).with_values(options.parse(settings, lanes))
    from sweeps import runner  # Optuna and its friends take a moment

    begun = runner.begin(Home(home), sweep)
    _drive(begun, begun.definition(), data, inline, address, tracking, as_json)


def resume(
    name: options.RunName,
    settings: options.Settings = None,
    lanes: options.Lanes = None,
    home: options.HomeDir = options.DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: Inline = False,
    address: Address = "local",
    tracking: TrackingUri = "",
    as_json: options.AsJson = False,
) -> None:
    """Go on with a run that was stopped or killed. Its numbers come out as if it never had been."""
    found, sweep = open_run(Home(home), name, options.parse(settings, lanes))
    _drive(found, sweep, data, inline, address, tracking, as_json)


def stop(name: options.RunName, home: options.HomeDir = options.DEFAULT_HOME, as_json: options.AsJson = False) -> None:
    """Ask the driver of a run to stop cleanly, as Ctrl-C does."""
    found = Home(home).run(name)
    found.request_stop()
    if as_json:
        options.show_json({"run": found.name, "stop": "requested"})
    else:
        typer.echo(f"Asked the driver of {found.name} to stop. Go on later with: sweep resume {found.name}")


def deliver(
    name: options.RunName,
    home: options.HomeDir = options.DEFAULT_HOME,
    tracking: TrackingUri = "",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Give up after so long.")] = 300.0,
    as_json: options.AsJson = False,
) -> None:
    """Bring a run's journal to MLflow; what is there already stays as it is."""
    from sweeps.delivery import Delivery, Tracking

    found = Home(home).run(name)
    if tracking or not found.tracking.exists():
        experiment = found.definition().name
        told = Tracking(tracking, experiment) if tracking else Tracking.local(found.folder.parent, experiment)
        told.save(found)
    told = Tracking.of(found)
    left = Delivery(found.folder, told.uri, told.experiment, warn=_say).deliver(timeout)
    if as_json:
        options.show_json({"run": found.name, "tracking": told.shown, "undelivered": left})
    else:
        typer.echo(f"{found.name}: {'everything is' if not left else f'{left} events are not'} in {told.shown}")
    if left:
        raise typer.Exit(1)


def _drive(run: Run, sweep: Sweep, data: Path, inline: bool, address: str, tracking: str, as_json: bool) -> None:
    from sweeps import runner
    from sweeps.cli import progress

    typer.echo(f"Run {run.name} in {run.folder.parent}", err=True)
    how = runner.How(data=data, inline=inline, address=address, tracking=tracking)
    outcome = runner.drive(run, sweep, how, _say, progress.silent if as_json else progress.live)
    if as_json:
        options.show_json(_summary(run, outcome))
    else:
        _tell(run, outcome)
    if outcome.state == "interrupted":
        raise typer.Exit(130)


def _summary(run: Run, outcome: "Outcome") -> dict[str, object]:
    best = outcome.story.best
    return {
        "run": outcome.run,
        "folder": str(run.folder),
        "state": outcome.state,
        "reason": outcome.reason,
        "trials": {str(state): count for state, count in outcome.story.counts.items()},
        "best": {"trial": best.trial, "params": best.params} | dict(best.best.metrics) if best and best.best else None,
        "report": [str(file) for file in outcome.report],
        "undelivered": outcome.undelivered,
    }


def _tell(run: Run, outcome: "Outcome") -> None:
    """What a person wants to know now, and the commands that come next."""
    counts = ", ".join(f"{count} {state}" for state, count in outcome.story.counts.items())
    typer.echo(f"{run.name}: {outcome.state} ({outcome.reason}): {counts or 'no trial'}")
    best = outcome.story.best
    if best and best.best:
        values = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in best.params.items())
        typer.echo(
            f"Best: trial {best.trial} ({values}): {best.best.metrics['valid_chunked_bpc']:.4f} bits per character"
        )
    for file in outcome.report:
        if file.suffix == ".png":
            typer.echo(f"Heatmap: {file}")
    if outcome.undelivered:
        typer.echo(f"Not yet in MLflow: {outcome.undelivered} events. Deliver them: sweep deliver {run.name}")
    if outcome.state == "interrupted":
        typer.echo(f"Go on with: sweep resume {run.name}{_at(run)}")
    else:
        typer.echo(f"Look at it in MLflow: sweep ui {run.name}{_at(run)}")


def _at(run: Run) -> str:
    """The `--home` that finds the run again, unless it is the default one."""
    home = run.folder.parent
    return "" if home == options.DEFAULT_HOME.absolute() else f" --home {home}"


def _say(text: str) -> None:
    typer.echo(text, err=True)
