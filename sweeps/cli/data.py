"""`sweep data`: the tasks, the state of their data files, and fetching them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sweeps.cli import text
from sweeps.cli.options import DEFAULT_DATA, PLUGINS_NOTE, AsJson, DataDir
from zoneout_core import tasks
from zoneout_core.data import datafiles
from zoneout_core.data.datafiles import DataFile, FileState
from zoneout_core.errors import PluginError

app = typer.Typer(
    help="List the data files of the tasks, and fetch missing ones.",
    no_args_is_help=True,
)


@app.command("ls", epilog=PLUGINS_NOTE)
def ls(data_dir: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """List the tasks and the state of their data files."""
    listing = []
    for name in tasks.names():
        try:
            listing.append(_described(tasks.get(name), data_dir))
        except PluginError as error:
            text.echo(f"warning: task {name} is left out: {text.one_line(error)}", err=True)
    if as_json:
        typer.echo(json.dumps(listing, indent=2))
    else:
        _print_table(listing, data_dir)


def _described(task: tasks.Task, data_dir: Path) -> dict[str, Any]:
    return {
        "task": task.name,
        "description": task.description,
        "variants": list(task.variants),
        "files": [_state_of(file, data_dir) for file in task.files],
    }


def _state_of(file: DataFile, data_dir: Path) -> dict[str, Any]:
    finding = datafiles.inspect(file, data_dir)
    return {
        "file": file.path,
        "path": str(finding.location),
        "bytes": file.bytes,
        "sha256": file.sha256,
        "state": finding.state,
        "detail": finding.detail,
    }


def _print_table(listing: list[dict[str, Any]], data_dir: Path) -> None:
    """A line per task; below them every file that is not ok, and the commands that fetch it."""
    from rich import box
    from rich.table import Table

    table = Table("task", "variants", box=box.SIMPLE_HEAD)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("files", no_wrap=True)
    bad: dict[str, str] = {}  # tasks may share files
    lacking = []
    for task in listing:
        files = task["files"]
        bad_files = {f["file"]: f["detail"] for f in files if f["state"] != FileState.OK}
        if bad_files:
            state = f"{len(bad_files)} of {len(files)} not ok"
            lacking.append(task["task"])
        elif files:
            state = "ok"
        else:
            state = "none needed"
        if files:
            size = f"{sum(f['bytes'] for f in files):,}"
        else:
            size = ""
        table.add_row(task["task"], ", ".join(task["variants"]), size, state)
        bad |= bad_files
    console = text.console()
    console.print(f"Data folder: {data_dir}", soft_wrap=True)
    console.print(table)
    for file, detail in bad.items():
        console.print(f"{file}: {detail}", soft_wrap=True)
    for name in lacking:
        console.print(
            f"Fetch what is not ok: {datafiles.fetch_command(name, data_dir)}", soft_wrap=True
        )


@app.command("fetch", epilog=PLUGINS_NOTE)
def fetch(
    name: Annotated[str, typer.Argument(metavar="TASK", help="A task of `sweep data ls`.")],
    data_dir: DataDir = DEFAULT_DATA,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL_OR_FOLDER",
            help="Fetch from this address or folder, not from the known ones.",
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Fetch even files that are already there and intact.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a task's data files. Files that are there stay; an interrupted fetch continues where it
    stopped."""
    from zoneout_core.data.fetch import fetch as fetch_file

    task = tasks.get(name)
    fetched = []
    for file in task.files:
        if force or datafiles.inspect(file, data_dir).state is not FileState.OK:
            with _progress(file.path) as progress:
                fetch_file(name, file, data_dir, source=source, progress=progress)
            fetched.append(file)
    if as_json:
        files = [{**_state_of(file, data_dir), "fetched": file in fetched} for file in task.files]
        typer.echo(json.dumps({"task": name, "files": files}, indent=2))
        return
    for file in task.files:
        text.echo(f"{'fetched' if file in fetched else 'already there'}: {data_dir / file.path}")
    if not task.files:
        text.echo(f"Task {name} needs no files.")


@contextmanager
def _progress(description: str) -> Iterator[Any]:
    """A progress bar on stderr, drawn only on a terminal. Yields the function that moves it, of
    (bytes there, bytes expected)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = text.console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        row = bar.add_task(description, total=None)
        yield lambda done, expected: bar.update(row, completed=done, total=expected)
