"""`sweep reproduce`: a table or figure of the paper, with our numbers beside the published ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.books.run_folder import DEFAULT_HOME, Home
from sweeps.cli import options, run_commands, text
from sweeps.cli.streams import INTERRUPTED
from sweeps.paper import reproductions
from zoneout_core.errors import ConfigError, DataError, RunError
from zoneout_core.formats import FORMATS

if TYPE_CHECKING:
    from rich.table import Table

    from sweeps.definition import Sweep
    from sweeps.paper.reproducing import Request
    from sweeps.paper.reproductions import Reading, Reproduction
    from sweeps.runner import DriveOptions

INCOMPLETE = 1
"""Exit code when some of what was requested could not be run."""
WIDEST = 1000
"""Characters; wider than any table."""

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help=f"One of {', '.join(reproductions.names())}."),
]
ScaleName = Annotated[
    str,
    typer.Option(
        "--scale",
        metavar="SCALE",
        help="smoke: seconds a row; small: minutes; paper: the whole setting.",
    ),
]
RowNames = Annotated[
    str, typer.Option("--rows", metavar="A,B", help="Take only these rows.", show_default="all")
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        help="Use seeds 0 to N-1. Several give confidence intervals.",
        show_default="1 (toys: 5)",
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Train everything again, even what the home already has.")
]
Show = Annotated[bool, typer.Option("--show", help="Train nothing; show what the home has.")]


def reproduce(
    name: Name,
    scale: ScaleName = "paper",
    row_names: RowNames = "",
    seeds: Seeds = None,
    settings: options.Settings = None,
    lanes: options.LanesOption = None,
    fresh: Fresh = False,
    show: Show = False,
    home: options.HomeDir = DEFAULT_HOME,
    data: options.DataDir = options.DEFAULT_DATA,
    inline: run_commands.Inline = False,
    address: run_commands.Address = "local",
    tracking: run_commands.TrackingUri = "",
    force: run_commands.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Reproduce a table or figure of the paper.

    The paper's numbers stand beside ours. Trials that the home already has are read, not trained
    again. Missing ones are trained, and interrupted runs are continued.
    """
    from sweeps.paper import found_trials, reproducing
    from sweeps.paper.reproducing import Request
    from sweeps.runner import DriveOptions

    reproduction = reproductions.get(name)
    request = Request(
        name=name.replace("_", "-"),
        scale=scale,
        labels=tuple(label.strip() for label in row_names.split(",") if label.strip()),
        seeds=seeds or 0,
        settings=options.parse(settings),
    )
    if row_names and not request.labels:
        raise ConfigError(
            f"--rows takes names of rows, separated by commas, but got {row_names!r}. Leave it out"
            " for all rows."
        )
    if fresh and show:
        raise ConfigError(
            "--fresh trains everything anew and --show trains nothing. Leave one of them out."
        )
    pairs = list(reproducing.blocks(reproduction, request, lanes))
    for run, why in found_trials.left_out(Home(home), {sweep.name for _, sweep in pairs}):
        run_commands.say(f"Run {run.name} is left out: {why}")
    drive_options = DriveOptions(
        data=data, inline=inline, address=address, tracking=tracking, force=force
    )
    trainer = _Trainer(Home(home), drive_options, fresh, as_json)
    if not show:
        trainer.train(reproducing.to_train(pairs))
    if fresh and not show:
        only = trainer.begun
    else:
        only = None
    readings = [reproducing.read(Home(home), block, sweep, request, only) for block, sweep in pairs]
    if reproduction.measure is not None and not show:
        reproduction.measure(readings, data, run_commands.say)
    summary = _summary(request, readings)
    files = reproducing.write(
        Home(home).folder / "reproductions" / request.folder_name, reproduction, readings, summary
    )
    if as_json:
        options.show_json(
            summary | {"files": [str(file) for file in files], "not_run": trainer.refused}
        )
    else:
        _print(reproduction, request, readings, files)
    if trainer.refused:
        raise typer.Exit(INCOMPLETE)


class _Trainer:
    """Trains what a home lacks."""

    def __init__(self, home: Home, drive_options: "DriveOptions", fresh: bool, quiet: bool) -> None:
        self.home, self.drive_options, self.fresh, self.quiet = home, drive_options, fresh, quiet
        self.begun: list[str] = []
        """Names of the runs that this command began."""
        self.refused: dict[str, str] = {}
        """Why a sweep was not run, by its name."""

    def train(self, sweeps: "Sequence[Sweep]") -> None:
        """Train all of them, but skip a sweep whose data are missing, and say so. Raises
        `typer.Exit` when a driver stopped."""
        for sweep in sweeps:
            try:
                self._train(sweep)
            except DataError as error:
                self.refused[sweep.name] = str(error)
                run_commands.say(f"{sweep.name} is not run: {error}")

    def _train(self, sweep: "Sweep") -> None:
        from sweeps import preflight, runner
        from sweeps.cli import progress
        from sweeps.paper import reproducing

        if self.fresh:
            only = self.begun
        else:
            only = None
        left = reproducing.lacking(self.home, sweep, only)
        if left is not None:
            preflight.check(self.home, left, self.drive_options)
        while left is not None:
            if self.fresh:
                run = None
            else:
                run = reproducing.resumable(self.home, sweep)
            if run is None:
                verb = "Run"
                run = runner.begin(self.home, left)
                self.begun.append(run.name)
            else:
                verb = "Going on with run"
            definition = reproducing.going_on(run.definition(), sweep)
            trials = definition.cut or f"{definition.max_trials} trials"
            run_commands.say(f"{verb} {run.name} in {run.folder.parent}: {trials}")
            if self.quiet:
                watch = progress.silent
            else:
                watch = progress.live
            outcome = runner.drive(run, definition, self.drive_options, run_commands.say, watch)
            if outcome.state != "finished":
                if self.fresh:
                    again = "The same command without --fresh"
                else:
                    again = "The same command"
                run_commands.say(
                    f"{run.name}: {outcome.state} ({outcome.reason}). {again} goes on with it."
                )
                raise typer.Exit(INTERRUPTED)
            before = left
            left = reproducing.lacking(self.home, sweep, only)
            if left == before and run.name in self.begun:
                raise RunError(
                    f"Run {run.name} ended, but what it was for is not there. Look at it:"
                    f" {run.command('status')}"
                )


def _summary(request: "Request", readings: "Sequence[Reading]") -> dict[str, object]:
    """The content of numbers.json, which `--json` prints too. It has no paths of this machine."""
    from analysis import paper_table
    from sweeps.paper import found_trials, reproducing

    return {
        "format": FORMATS["numbers.json"],
        "reproduction": request.name,
        "scale": request.scale,
        "set": {key: str(value) for key, value in request.settings.items()},
        "blocks": [
            paper_table.to_json(reading.table)
            | {
                "sweep": reading.sweep.name,
                "task": reading.sweep.base.task,
                "asked_seeds": list(reading.sweep.seeds),
                "not_as_in_the_paper": reproducing.smaller(reading.block, reading.sweep),
                "best": None if reading.block.rows else reproducing.best(reading),
                "runs": sorted({source.run.name for source in reading.sources}),
                "commits": found_trials.commits(reading.sources),
                "seconds": found_trials.seconds(reading.sources),
            }
            for reading in readings
        ],
    }


def _print(
    reproduction: "Reproduction",
    request: "Request",
    readings: "Sequence[Reading]",
    files: Sequence[Path],
) -> None:
    terminal = text.console()
    if request.settings:
        changed = f", with --set {text.assignment(request.settings)}"
    else:
        changed = ""
    terminal.print(f"{reproduction.title}\nScale: {request.scale}{changed}", soft_wrap=True)
    for reading in readings:
        for part in _block(reading, request, files[0].parents[2]):
            if isinstance(part, str):
                terminal.print(part, soft_wrap=True)
            else:  # never cut off, even where the terminal is too narrow for its numbers
                unbounded = terminal.options.update(width=WIDEST)
                terminal.width = max(
                    terminal.width, terminal.measure(part, options=unbounded).minimum
                )
                terminal.print(part)
    for note in reproduction.notes:
        terminal.print(f"Note: {note}", soft_wrap=True)
    for file in files:
        if file.suffix == ".png":
            terminal.print(f"Figure: {file}", soft_wrap=True)
    terminal.print(f"Numbers: {files[0].parent}", soft_wrap=True)


def _block(reading: "Reading", request: "Request", home: Path) -> "Iterator[str | Table]":
    """A heading, what is smaller than in the paper, the table, how its columns are measured, and
    where its numbers come from."""
    from sweeps.paper import reproducing

    yield f"\n{reading.table.title}"
    differing = reproducing.smaller(reading.block, reading.sweep)
    if differing[""]:
        yield f"Not as in the paper: {', '.join(differing[''])}"
    if reading.block.rows:
        yield _table(reading)
        for column in reading.block.columns:
            yield f"  {column.title}: {column.protocol} ({column.metric})"
    elif (best := reproducing.best(reading)) is not None:
        point = ", ".join(
            f"{key.rpartition('.')[2]}={value:g}" for key, value in best["params"].items()
        )
        yield (
            f"  Best of {best['of']} trials: {best['value']:.4f} at {point}"
            f" ({reading.sweep.metrics.label})"
        )
    for row in reading.block.rows:
        if row.note:
            yield f"  {row.title}: {row.note}"
        if row.label and row.label in differing:
            yield f"  {row.title} is not as in the paper: {', '.join(differing[row.label])}"
    for line in reading.table.lines:
        for reason in line.reasons:
            yield f"  {line.row.title}, {line.state}: {reason}"
    hardware = sorted({machine for line in reading.table.lines for machine in line.hardware})
    if hardware:
        yield f"  Trained on: {'; '.join(hardware)}"
    runs = sorted({source.run.name for source in reading.sources})
    yield f"  Runs: {', '.join(runs) or 'none'}"
    if reading.block.trained_by:
        train = Home(home).command("reproduce", reading.block.trained_by, "--scale", request.scale)
        yield f"  Only read here; train these rows with: {train}"


def _table(reading: "Reading") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from analysis import paper_table

    headings = paper_table.headings(reading.table)
    lines = list(paper_table.cells(reading.table))
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for (title, what), *cells in zip(headings, *lines, strict=True):
        longest = max(map(len, (title, what, *cells)))
        if what == "system":  # names may wrap, numbers never
            grid.add_column(f"{title}\n{what}", min_width=min(longest, 17))
        else:
            grid.add_column(f"{title}\n{what}", justify="right", min_width=longest)
    for cells in lines:
        styles = ["bold" if what == "diff" and reading.is_paper else "" for _, what in headings]
        grid.add_row(*(Text(cell, style) for cell, style in zip(cells, styles, strict=True)))
    return grid
