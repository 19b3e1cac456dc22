"""Drive a run from its beginning, or from where it stopped, to its report. The only module that
knows all parts."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweeps import secrets
from sweeps.books import checksums, mending, provenance
from sweeps.books.events import ArtifactEvent, Provenance, RunEnd
from sweeps.books.ledger import Ledger
from sweeps.books.run_folder import Home, RunFolder
from sweeps.books.storage import StorageAway
from sweeps.books.story import Story
from sweeps.definition import Sweep
from sweeps.drivers import inline
from sweeps.drivers.interrupts import Interrupts
from sweeps.serving.lane_server import ServerOptions
from sweeps.tracking.delivery import Delivery, Tracking
from zoneout_core import tasks
from zoneout_core.config import registry
from zoneout_core.errors import RunError, SpaceError, ZoneoutError
from zoneout_core.records import ARITHMETIC, TrialState
from zoneout_core.tasks import load_data

NO_TRACKING = "none"
"""The tracking URI that means: do not deliver now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriveOptions:
    """Options of a driver. None of them changes a number."""

    data: Path
    """The folder of the data files, on every node."""
    inline: bool = False
    """Train in this process, without Ray."""
    address: str = "local"
    """`local` for a Ray of its own, or the address of a cluster (`auto`, `host:port`)."""
    tracking: str = ""
    """MLflow's tracking URI; empty = the run's, else the home's own store; `none` = deliver
    later."""
    drain_seconds: float = 60.0
    """How long a driver that ends waits for MLflow."""
    idle: bool = False
    """Trials do no work."""
    force: bool = False
    """Train in a precision that the processor has to emulate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of driving a run."""

    run: str
    state: str
    """`finished`, `interrupted` or `budget`."""
    reason: str
    story: Story
    report: list[Path]
    undelivered: int
    deliver: str
    """The command that delivers the rest to MLflow."""


Watch = Callable[[Story, Sweep], AbstractContextManager[Any]]
"""Makes a context that shows the progress of a story while it is open."""


def begin(home: Home, sweep: Sweep) -> RunFolder:
    """Create a new run of `sweep`, with its definition and thread count on disk. Raises
    `HomeError`."""
    return home.create(replace(sweep, threads=sweep.threads or os.cpu_count() or 1))


def drive(
    run: RunFolder,
    sweep: Sweep,
    drive_options: DriveOptions,
    say: Callable[[str], None],
    watch: Watch | None = None,
) -> Outcome:
    """Run all remaining trials, report, and deliver to MLflow.

    Raises `RunError` when another driver has the run or its data changed, `DataError` when the data
    is missing or damaged, and `HomeError` when the disk refuses the journal. Whatever was recorded
    before stays.
    """
    with run.driving(drive_options.data if tasks.get(sweep.base.task).files else None):
        for text in mending.mend_journal(run, sweep):
            say(text)
        arithmetic = _check_arithmetic(run, sweep)
        origin = _write_provenance(
            run, sweep, load_data(sweep.base.task, sweep.base.variant, drive_options.data), say
        )
        run.write_definition(sweep, arithmetic)
        delivery = _start_delivery(run, sweep, drive_options, say)
        ledger = Ledger(run, sweep, "inline" if drive_options.inline else "ray", origin)
        for text in ledger.mended:
            say(text)
        state: RunEnd = "failed"
        reason = "the driver raised an error"
        report: list[Path] = []
        with Interrupts(run, sweep.time_budget_s, say) as interrupts:
            ledger.be_patient(say, interrupts)
            try:
                with (watch or _unwatched)(ledger.story, sweep):
                    _drive(run, sweep, drive_options, ledger, interrupts)
                state, reason = _outcome(interrupts, ledger)
                report = _report(run, sweep, ledger, say, state)
            except StorageAway:
                if not interrupts.reason:
                    raise
                state, reason = _outcome(interrupts, ledger)
            except ZoneoutError as error:
                reason = secrets.mask(str(error))
                raise
            finally:
                ledger.close(state, reason)
                if delivery:
                    undelivered = _drain(
                        run, delivery, drive_options.drain_seconds, say, interrupts
                    )
                else:
                    undelivered = 0
        return Outcome(
            run=run.name,
            state=state,
            reason=reason,
            story=ledger.story,
            report=report,
            undelivered=undelivered,
            deliver=delivery.tracking.command(run) if delivery else run.command("deliver"),
        )


def _drive(
    run: RunFolder, sweep: Sweep, drive_options: DriveOptions, ledger: Ledger, stop: Interrupts
) -> None:
    options = ServerOptions(
        lanes=min(sweep.lanes, sweep.max_trials),
        device=sweep.device,
        threads=sweep.threads,
        data=drive_options.data.absolute(),
        checkpoints=run.checkpoints,
        checkpoint_epochs=sweep.checkpoint_epochs,
        idle=drive_options.idle,
        products=run.products,
        force=drive_options.force,
        plugins=registry.active(),
        plugin_hashes=run.plugin_hashes(),
    )
    if drive_options.inline:
        inline.drive(ledger, options, sweep.max_concurrent_trials or options.lanes, stop)
        return
    from sweeps.drivers import ray_tune

    ray_tune.drive(
        ledger,
        options,
        sweep.max_concurrent_trials,
        stop,
        listen=stop.listen,
        go_on=run.command("resume"),
        run_name=run.name,
        scratch=run.folder,
        address=drive_options.address,
        max_failures=sweep.max_failures,
    )


def _outcome(interrupts: Interrupts, ledger: Ledger) -> tuple[RunEnd, str]:
    if ledger.is_over():  # even if a signal came while the last trials were ending
        return "finished", "all trials ended"
    if interrupts.budget_spent:
        return "budget", interrupts.reason
    return "interrupted", interrupts.reason or "Tune ended before all trials had"


def _check_arithmetic(run: RunFolder, sweep: Sweep) -> int:
    """The edition of the run's arithmetic. Raises `RunError` when trials are left to train and this
    version has another edition."""
    edition = run.arithmetic()
    trials = Story.of(run.journal).trials.values()
    is_unfinished = len(trials) < sweep.max_trials or not all(
        trial.state.finished for trial in trials
    )
    if trials and is_unfinished and edition != ARITHMETIC:
        raise RunError(
            f"All trials of a run have the same arithmetic, but {run.name} was begun with edition"
            f" {edition} and this version has edition {ARITHMETIC}: equal configurations would give"
            f" other bits. Its results stay: {run.command('export')}   Begin a new run with:"
            f" {run.begin_again(sweep.name)}"
        )
    if trials:
        return edition
    return ARITHMETIC


def _write_provenance(
    run: RunFolder, sweep: Sweep, data: Any, say: Callable[[str], None]
) -> Provenance:
    """Add an entry for this driver to `provenance.json`. Returns its summary for the journal.

    Raises `RunError` when the data differs from that of the run's beginning.
    """
    entries, damage = provenance.known(run.provenance, run.journal)
    if damage:
        kept = checksums.beside(run.provenance)
        run.provenance.rename(kept)
        say(
            f"{run.provenance} was damaged ({damage}). It is kept as {kept.name}, and written again"
            " from the journal."
        )
    if entries and entries[0].data.sha256 != data.sha256:
        raise RunError(
            f"A resumed run needs the data it began with, but {sweep.base.task} had SHA-256"
            f" {entries[0].data.sha256} then and has {data.sha256} now. Restore the data, or"
            f" begin a new run with: {run.begin_again(sweep.name)}"
        )
    entry = provenance.collect(data.name, data.variant, data.sha256, sweep.threads)
    _check_plugins(run, entry.plugins, sweep)
    run.write(run.provenance, provenance.content([*entries, entry]))
    return provenance.summary(entry)


def _check_plugins(run: RunFolder, installed: Mapping[str, str], sweep: Sweep) -> None:
    """Raises `RunError` when a plug-in that decides numbers has changed since the run began. A run
    keeps a copy of a folder's plug-ins, but not of installed packages."""
    for name, sha256 in run.plugin_hashes().items():
        if installed.get(name) != sha256:
            raise RunError(
                f"A resumed run needs the plug-ins that it began with, but {name} had SHA-256"
                f" {sha256} then and has {installed.get(name, 'none')} now. Install the version"
                f" that it was begun with, or begin a new run with: {run.begin_again(sweep.name)}"
            )


def _start_delivery(
    run: RunFolder, sweep: Sweep, drive_options: DriveOptions, say: Callable[[str], None]
) -> Delivery | None:
    if drive_options.tracking == NO_TRACKING:
        return None
    known = Tracking.known(run)
    if run.tracking.exists() and not drive_options.tracking:
        known = Tracking.of(run)
    if drive_options.tracking:
        tracking = Tracking(drive_options.tracking, sweep.name)
    else:
        tracking = known or Tracking.local(run.folder.parent, sweep.name)
    if known is None:  # a run that belongs elsewhere moves only once all of it is delivered
        tracking.save(run)
    tracking = tracking._replace(uri=secrets.unmask(tracking.uri, "tracking", run.folder))
    delivery = Delivery(run.folder, tracking.uri, tracking.experiment, warn=say)
    try:
        delivery.start()
    except RunError as error:  # mlflow is not installed: the journal has everything
        say(str(error))
        return None
    return delivery


def _drain(
    run: RunFolder,
    delivery: Delivery,
    seconds: float,
    say: Callable[[str], None],
    interrupts: Interrupts,
) -> int:
    """Deliver the rest to MLflow, unless a signal comes meanwhile. Returns how many events are
    left."""
    interrupts.stopping = (
        "Leaving without the records that MLflow still lacks; Ctrl-C again leaves at once."
    )
    was_signalled = interrupts.signalled
    if delivery.undelivered:
        say(f"Sending the last records to MLflow, for at most {seconds:.0f} seconds")
    left = delivery.drain(seconds, lambda: interrupts.signalled and not was_signalled)
    if not left and Tracking.of(run) != delivery.tracking:
        delivery.tracking.save(run)
    return left


def _report(
    run: RunFolder, sweep: Sweep, ledger: Ledger, say: Callable[[str], None], state: str
) -> list[Path]:
    """Draw the heatmap and have it delivered. If it cannot be drawn, that is said and does not fail
    the sweep."""
    lacking = [package for package in ("pandas", "matplotlib") if find_spec(package) is None]
    if lacking:
        say(
            f"The heatmap needs {' and '.join(lacking)}, not installed here."
            f" Draw it later: {run.command('report')}"
        )
        return []
    from sweeps.report import write_report

    try:
        left = TrialState.INTERRUPTED  # as `Ledger.close` will have it
        if state == "budget":
            left = TrialState.PRUNED
        files = write_report(run, sweep, ledger.story, left)
    except SpaceError as error:
        say(f"No heatmap: {error}")
        return []
    except RunError as error:
        say(str(error))
        return []
    except OSError as error:  # such as a full disk
        why = f"{run.report} cannot be written ({error.strerror or error})"
        say(f"No heatmap: {why}. Draw it later: {run.command('report')}")
        return []
    except Exception as error:  # whatever fails to draw, the trials are done
        say(f"No heatmap: {type(error).__name__}: {error}. Draw it later: {run.command('report')}")
        return []
    for file in files:
        path = str(file.relative_to(run.folder))
        ledger.note(ArtifactEvent(name=file.name, path=path))
    return files


def _unwatched(story: Story, sweep: Sweep) -> AbstractContextManager[Any]:
    return nullcontext()
