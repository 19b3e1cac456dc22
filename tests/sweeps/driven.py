"""Small sweeps for tests: seconds long, on the text that every Python carries, in this process or
through the command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps import definition, runner
from sweeps.books import export
from sweeps.books.run_folder import Home, RunFolder
from sweeps.definition import Sweep
from sweeps.runner import DriveOptions, Outcome

TINY = {"hidden_size": "8", "epochs": "2", "train_fraction": "0.03", "threads": "1"}
"""4 updates an epoch."""
SWEEP = Path(sys.executable).with_name("sweep")


def tiny(**changes: Any) -> Sweep:
    """The demo, so small that nine trials take a second or two."""
    return definition.get("demo").with_values(
        TINY | {key: str(value) for key, value in changes.items()}
    )


def begin(home: Path, sweep: Sweep) -> RunFolder:
    """A new run in `home`."""
    return runner.begin(Home(home), sweep)


def drive_inline(run: RunFolder, sweep: Sweep, **how: Any) -> Outcome:
    """Drive without Ray and MLflow; `say` and `watch` as `runner.drive` has them."""
    say, watch = how.pop("say", lambda text: None), how.pop("watch", None)
    options = {"inline": True, "tracking": "none"} | how
    return runner.drive(run, sweep, DriveOptions(data=run.folder, **options), say, watch)


def curves(run: RunFolder) -> str:
    """Everything that must be equal between equal sweeps: the table per trial, and per trial and
    epoch."""
    story = run.story()
    tables = [export.rows(story, curves=curves, times=False) for curves in (False, True)]
    return "".join(export.render(table, "csv") for table in tables)


def command(home: Path, *arguments: str) -> list[str]:
    """The command line `sweep ...` as a process of its own runs it."""
    return [str(SWEEP), *arguments, "--home", str(home)]


def settings(values: Mapping[str, str] = TINY) -> list[str]:
    """`--set` options of the tiny sweep."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def call(
    *arguments: str, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `sweep ARGUMENTS` to its end."""
    return subprocess.run(
        [str(SWEEP), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
    )


def told(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command with `--json` printed."""
    assert done.returncode in (0, 130), done.stderr
    return json.loads(done.stdout)
