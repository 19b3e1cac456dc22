"""`sweep run`, `resume`, `stop` and `deliver`: the commands that change a run."""

import shlex
import sys
import time
import traceback
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps import definition, secrets
from sweeps.books.run_folder import DEFAULT_HOME, Home, RunFolder, open_run
from sweeps.cli import options, text
from sweeps.cli.streams import INTERRUPTED, leaving_at_once
from sweeps.definition import Sweep
from zoneout_core.config import parts, registry
from zoneout_core.config.plugins import Plugins
from zoneout_core.errors import ConfigError, PluginError, ZoneoutError
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    from sweeps.runner import DriveOptions, Outcome

FAILED = 1
"""Exit code of a sweep whose trials all failed, and of an incomplete delivery."""
LAST_ROWS = 20
"""Trials shown when a driver leaves."""

Inline = Annotated[
    bool,
    typer.Option("--inline", help="Train in this process, without Ray. Results are the same."),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Use this Ray cluster (`auto` or HOST:PORT) instead of a local Ray.",
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Train even in a precision that is slow because this processor emulates it."
    ),
]
TrackingUri = Annotated[
    str,
    typer.Option("--tracking", metavar="URI", envvar="MLFLOW_TRACKING_URI",
                 show_default="HOME/mlflow.db",
                 help="MLflow's tracking URI; with `none`, nothing is delivered now."),
]  # fmt: skip
DeliveryUri = Annotated[
    str,
    typer.Option("--tracking", metavar="URI", envvar="MLFLOW_TRACKING_URI",
                 show_default="where the run belongs",
                 help="MLflow's tracking URI."),
]  # fmt: skip


def run(
    name: options.SweepName,
    settings: options.Settings = None,
    lanes: options.LanesOption = None,
    home: options.HomeDir = DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: Inline = False,
    address: Address = "local",
    tracking: TrackingUri = "",
    force: Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Run a sweep, from its first trial to its heatmap. Ctrl-C saves and stops; `sweep resume`
    continues."""
    with leaving_at_once():  # importing Optuna and its dependencies takes a moment
        from sweeps import preflight, runner

        sweep = definition.get(name).with_values(options.parse(settings, lanes))
        drive_options = runner.DriveOptions(
            data=data, inline=inline, address=address, tracking=tracking, force=force
        )
        preflight.check(Home(home), sweep, drive_options)
    begun = runner.begin(Home(home), sweep)
    _drive(begun, begun.definition(), drive_options, as_json)


def resume(
    context: typer.Context,
    name: options.RunName,
    settings: options.Settings = None,
    lanes: options.LanesOption = None,
    home: options.HomeDir = DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: Inline = False,
    address: Address = "local",
    tracking: TrackingUri = "",
    force: Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Continue a run that was stopped or killed. Results are those of an uninterrupted run."""
    with leaving_at_once():
        from sweeps import preflight, runner
        from sweeps.tracking.delivery import check_scheme

        is_named = context.find_root().params["plugins"] is not None
        requested = _requested_plugins(is_named)
        run_folder, sweep = open_run(Home(home), name, options.parse(settings, lanes))
        _compare_plugins(run_folder, requested, is_named)
        drive_options = runner.DriveOptions(
            data=data, inline=inline, address=address, tracking=tracking, force=force
        )
        if tracking != runner.NO_TRACKING:
            check_scheme(tracking)
        parts.require_regularizers()
        preflight.check_precision(sweep, drive_options)
    _drive(run_folder, sweep, drive_options, as_json)


def _requested_plugins(is_named: bool) -> Plugins:
    """The plug-ins of the command line (`is_named`) or of $ZONEOUT_PLUGINS. A resume can do without
    the latter."""
    try:
        return registry.active()
    except PluginError as error:
        assert not is_named, "the folder was read already"
        say(f"$ZONEOUT_PLUGINS is not used: {error}")
        return Plugins()


def _compare_plugins(run: RunFolder, requested: Plugins, is_named: bool) -> None:
    """Say so where the run's plug-ins, which are in use, differ from the requested ones. Raises
    `ConfigError` where the user named those on the command line."""
    kept = registry.active()
    if not requested or requested == kept:
        return
    if kept:
        uses = f"the plug-ins that it began with, in {run.plugins} (SHA-256 {kept.sha256[:12]})"
    else:
        uses = "no plug-ins, as when it began"
    others = f"those of {requested.folder} are others (SHA-256 {requested.sha256[:12]})"
    if not is_named:
        say(f"{run.name} uses {uses}; {others}.")
        return
    raise ConfigError(
        f"A resumed run uses {uses}, but {others}. Leave --plugins out, or begin a new run with:"
        f" {Home(run.folder.parent).command('run', run.definition().name)}"
        f" --plugins {shlex.quote(requested.folder)}"
    )


def stop(
    name: options.RunName, home: options.HomeDir = DEFAULT_HOME, as_json: options.AsJson = False
) -> None:
    """Ask the driver of a run to save and stop, as Ctrl-C does."""
    run_folder = Home(home).run(name)
    run_folder.request_stop()
    if as_json:
        options.show_json({"run": run_folder.name, "stop": "requested"})
    else:
        text.echo(
            f"Asked the driver of {run_folder.name} to stop."
            f" Continue later with: {run_folder.command('resume')}"
        )


def deliver(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run of `sweep ls --runs`, or `latest`.")
    ] = "",
    all_runs: Annotated[bool, typer.Option("--all", help="Deliver every run of the home.")] = False,
    home: options.HomeDir = DEFAULT_HOME,
    tracking: DeliveryUri = "",
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0, help="Give up on a run after this time."
        ),
    ] = 300.0,
    as_json: options.AsJson = False,
) -> None:
    """Send the records of a run, or of all runs, to MLflow. Records that are already there stay as
    they are."""
    from sweeps.runner import NO_TRACKING
    from sweeps.tracking.delivery import check_scheme

    if tracking == NO_TRACKING:
        raise ConfigError(
            "sweep deliver needs somewhere to deliver to, but --tracking is 'none'. Leave it out."
        )
    check_scheme(tracking)
    if bool(name) == all_runs:
        raise ConfigError(
            f"sweep deliver takes one RUN, or --all, but got {'both' if name else 'neither'}. "
            f"For example: {Home(home).command('deliver', 'latest')}"
        )
    if all_runs and not as_json and not Home(home).runs():
        text.echo(f"No run in {Home(home).folder} yet, so there is nothing to deliver.")
    if all_runs:
        runs = Home(home).runs()
    else:
        runs = [Home(home).run(name)]
    deliveries = []
    unreadable = 0
    for run in runs:
        try:
            delivery = _deliver(run, tracking, timeout)
        except ZoneoutError as error:  # concerns this run alone; the others are still delivered
            if not all_runs:
                raise
            unreadable += 1
            say(f"{run.name} is not delivered: {error}")
            continue
        deliveries.append(delivery)
        if not as_json:
            if delivery["undelivered"]:
                amount = f"{delivery['undelivered']} events are not"
            else:
                amount = "everything is"
            text.echo(f"{run.name}: {amount} in {delivery['tracking']}")
    if as_json:
        options.show_json({"runs": deliveries} if all_runs else deliveries[0])
    if unreadable or any(delivery["undelivered"] for delivery in deliveries):
        raise typer.Exit(FAILED)


def _deliver(run: RunFolder, tracking: str, timeout: float) -> dict[str, object]:
    """Deliver one run. Only a complete delivery changes `tracking.json`."""
    from sweeps.tracking.delivery import Delivery, Tracking

    if tracking or not run.tracking.exists():
        known = Tracking.known(run)
    else:
        known = Tracking.of(run)
    if tracking:
        place = Tracking(tracking, run.definition().name)
    else:
        place = known or Tracking.local(run.folder.parent, run.definition().name)
    left = Delivery(run.folder, place.uri, place.experiment, warn=say).deliver(timeout)
    if not left and place != known:
        place.save(run)
    return {"run": run.name, "tracking": place.shown, "undelivered": left}


def _drive(run: RunFolder, sweep: Sweep, drive_options: "DriveOptions", as_json: bool) -> None:
    from sweeps import runner
    from sweeps.cli import progress, summary

    say(f"Run {run.name} in {run.folder.parent}")
    if sweep.cut:
        say(sweep.cut)
    try:
        outcome = runner.drive(
            run, sweep, drive_options, say, progress.silent if as_json else progress.live
        )
    except ZoneoutError:
        raise
    except Exception:
        _keep_traceback(run)
        raise
    if as_json:
        report = {
            "report": [str(file) for file in outcome.report],
            "undelivered": outcome.undelivered,
        }
        options.show_json(summary.of_run(run, sweep, outcome.story) | report)
    else:
        _print_outcome(run, sweep, outcome)
    if outcome.state == "interrupted":
        raise typer.Exit(INTERRUPTED)
    if set(outcome.story.counts) == {TrialState.FAILED}:
        raise typer.Exit(FAILED)


def _keep_traceback(run: RunFolder) -> None:
    """Write the traceback to the run's log: an error that nobody foresaw can be hard to
    reproduce."""
    with run.log.open("a") as log:
        log.write(secrets.mask(traceback.format_exc()))
    say(f"The traceback is in {run.log}")


def _print_outcome(run: RunFolder, sweep: Sweep, outcome: "Outcome") -> None:
    """Print the result of a run, and the commands that come next."""
    from sweeps.cli.picture import best_of, counts, table

    terminal = text.console(stderr=True)
    if terminal.is_terminal:
        terminal.print(table(outcome.story, sweep, time.time(), LAST_ROWS))
    text.echo(f"{run.name}: {outcome.state} ({outcome.reason}): {counts(outcome.story, sweep)}")
    if outcome.story.best:
        text.echo(f"Best: {best_of(outcome.story.best)}")
    for file in outcome.report:
        if file.suffix == ".png":
            text.echo(f"Heatmap: {file}")
    if outcome.undelivered:
        text.echo(
            f"Not yet in MLflow: {outcome.undelivered} events. Deliver them: {outcome.deliver}"
        )
    if outcome.state == "interrupted":
        text.echo(f"Go on with: {run.command('resume')}")
    elif run.tracking.exists() and not outcome.undelivered:
        text.echo(f"See it in MLflow: {run.command('ui')}")
    elif not outcome.undelivered:
        text.echo(f"Send it to MLflow: {outcome.deliver}")


def say(message: str) -> None:
    """Print a line on the current `sys.stderr`: the live view replaces it, and keeps such lines
    apart from its own."""
    sys.stderr.write(f"{text.plain(secrets.mask(message))}\n")
    sys.stderr.flush()
