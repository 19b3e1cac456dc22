"""The command line `sweep`. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

import json
import os
import sys

import typer

from sweeps.cli import catalogue, data, driving, reading
from zoneout_core.errors import ZoneoutError

app = typer.Typer(
    name="sweep",
    help="Train many zoneout RNN trials at once, and never lose or blur a result.",
    epilog="Runs are kept in --home DIR, $ZONEOUT_HOME or runs/. Add --traceback to any command to see where an error arose.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
for command in (catalogue.ls, catalogue.show, driving.run, driving.resume, reading.status, driving.stop,
                reading.report, reading.export, driving.deliver, reading.ui):  # fmt: skip
    app.command()(command)
app.add_typer(data.app, name="data")

USER_ERROR = 2
"""Exit code of every error that a message can mend; what 1 means is left to Python."""


def main() -> None:
    """Run the command line. An error a user can mend is one line on stderr (an object with `--json`), and exit code 2."""
    arguments = sys.argv[1:]
    traceback = "--traceback" in arguments or bool(os.environ.get("ZONEOUT_TRACEBACK"))
    try:
        app([argument for argument in arguments if argument != "--traceback"])
    except ZoneoutError as error:
        if traceback:
            raise
        if "--json" in arguments:
            typer.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
        typer.echo(f"error: {error}", err=True)
        sys.exit(USER_ERROR)
