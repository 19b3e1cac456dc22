"""`sweep run`, `resume`, `stop` and `deliver`: what changes a run."""

import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps import definition, secrets
from sweeps.cli import options, text
from sweeps.definition import Sweep
from sweeps.home import DEFAULT_HOME, Home, Run, open_run
from zoneout_core.errors import ConfigError, ZoneoutError
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    from sweeps.runner import Outcome

INTERRUPTED = 130
"""Exit code of a driver that was stopped, as after Ctrl-C."""
FAILED = 1
"""Exit code of a sweep whose trials all failed, and of a delivery that left something behind."""
LAST_ROWS = 20
"""Trials shown when a driver leaves."""

Inline = Annotated[bool, typer.Option("--inline", help="In this one process, without Ray: same trials, same numbers.")]
Address = Annotated[
    str, typer.Option("--address", metavar="ADDRESS", help="A Ray cluster (`auto`, host:port), not a Ray of its own.")
]
TrackingUri = Annotated[
    str,
    typer.Option("--tracking", metavar="URI", envvar="MLFLOW_TRACKING_URI", show_default="HOME/mlflow.db",
                 help="MLflow's tracking URI; `none` = deliver later."),
]  # fmt: skip
DeliveryUri = Annotated[
    str,
    typer.Option("--tracking", metavar="URI", envvar="MLFLOW_TRACKING_URI", show_default="where the run belongs",
                 help="MLflow's tracking URI."),
]  # fmt: skip


def run(
    name: options.SweepName,
    settings: options.Settings = None,
    lanes: options.Lanes = None,
    home: options.HomeDir = DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: Inline = False,
    address: Address = "local",
    tracking: TrackingUri = "",
    as_json: options.AsJson = False,
) -> None:
    """Run a sweep, from its first trial to its heatmap. Ctrl-C saves and stops; `sweep resume` goes on."""
    sweep = definition.get(name).with_values(options.parse(settings, lanes))
    from sweeps import runner  # Optuna and its friends take a moment

    runner.check_data(sweep, data)
    begun = runner.begin(Home(home), sweep)
    _drive(begun, begun.definition(), data, inline, address, tracking, as_json)


def resume(
    name: options.RunName,
    settings: options.Settings = None,
    lanes: options.Lanes = None,
    home: options.HomeDir = DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: Inline = False,
    address: Address = "local",
    tracking: TrackingUri = "",
    as_json: options.AsJson = False,
) -> None:
    """Go on with a run that was stopped or killed. Its numbers come out as if it never had been."""
    found, sweep = open_run(Home(home), name, options.parse(settings, lanes))
    _drive(found, sweep, data, inline, address, tracking, as_json)


def stop(name: options.RunName, home: options.HomeDir = DEFAULT_HOME, as_json: options.AsJson = False) -> None:
    """Ask the driver of a run to save and stop, as Ctrl-C does."""
    found = Home(home).run(name)
    found.request_stop()
    if as_json:
        options.show_json({"run": found.name, "stop": "requested"})
    else:
        typer.echo(f"Asked the driver of {found.name} to stop. Go on later with: {found.command('resume')}")


def deliver(
    name: options.RunName,
    home: options.HomeDir = DEFAULT_HOME,
    tracking: DeliveryUri = "",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Give up after so long.")] = 300.0,
    as_json: options.AsJson = False,
) -> None:
    """Bring a run's journal to MLflow. What is there already stays as it is."""
    from sweeps.delivery import Delivery, Tracking
    from sweeps.runner import NO_TRACKING

    if tracking == NO_TRACKING:
        raise ConfigError("sweep deliver needs somewhere to deliver to, but --tracking is 'none'. Leave it out.")
    found = Home(home).run(name)
    if tracking or not found.tracking.exists():
        experiment = found.definition().name
        told = Tracking(tracking, experiment) if tracking else Tracking.local(found.folder.parent, experiment)
        told.save(found)
    told = Tracking.of(found)
    left = Delivery(found.folder, told.uri, told.experiment, warn=say).deliver(timeout)
    if as_json:
        options.show_json({"run": found.name, "tracking": told.shown, "undelivered": left})
    else:
        typer.echo(f"{found.name}: {'everything is' if not left else f'{left} events are not'} in {told.shown}")
    if left:
        raise typer.Exit(FAILED)


def _drive(run: Run, sweep: Sweep, data: Path, inline: bool, address: str, tracking: str, as_json: bool) -> None:
    from sweeps import runner
    from sweeps.cli import progress, summary

    say(f"Run {run.name} in {run.folder.parent}")
    if sweep.cut:
        say(sweep.cut)
    how = runner.How(data=data, inline=inline, address=address, tracking=tracking)
    try:
        outcome = runner.drive(run, sweep, how, say, progress.silent if as_json else progress.live)
    except ZoneoutError:
        raise
    except Exception:
        _keep_traceback(run)
        raise
    if as_json:
        report = {"report": [str(file) for file in outcome.report], "undelivered": outcome.undelivered}
        options.show_json(summary.of_run(run, sweep, outcome.story) | report)
    else:
        _tell(run, sweep, outcome)
    if outcome.state == "interrupted":
        raise typer.Exit(INTERRUPTED)
    if set(outcome.story.counts) == {TrialState.FAILED}:
        raise typer.Exit(FAILED)


def _keep_traceback(run: Run) -> None:
    """Into the run's log, because an error that nobody foresaw can be hard to meet again."""
    with run.log.open("a") as log:
        log.write(secrets.mask(traceback.format_exc()))
    say(f"The traceback is in {run.log}")


def _tell(run: Run, sweep: Sweep, outcome: "Outcome") -> None:
    """What a person wants to know now, and the commands that come next."""
    from sweeps.cli.picture import best_of, counts, table

    terminal = text.console(stderr=True)
    if terminal.is_terminal:
        terminal.print(table(outcome.story, sweep, time.time(), LAST_ROWS))
    typer.echo(f"{run.name}: {outcome.state} ({outcome.reason}): {counts(outcome.story, sweep)}")
    if outcome.story.best:
        typer.echo(f"Best: {best_of(outcome.story.best)}")
    for file in outcome.report:
        if file.suffix == ".png":
            typer.echo(f"Heatmap: {file}")
    if outcome.undelivered:
        typer.echo(f"Not yet in MLflow: {outcome.undelivered} events. Deliver them: {run.command('deliver')}")
    if outcome.state == "interrupted":
        typer.echo(f"Go on with: {run.command('resume')}")
    elif run.tracking.exists():
        typer.echo(f"Look at it in MLflow: {run.command('ui')}")
    else:
        typer.echo(f"Bring it to MLflow: {run.command('deliver')}")


def say(message: str) -> None:
    """On stderr as Python sees it now: the live view stands in for it, and keeps its lines apart from these."""
    sys.stderr.write(f"{secrets.mask(message)}\n")
    sys.stderr.flush()
