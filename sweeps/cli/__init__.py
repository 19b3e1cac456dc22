"""The command line `sweep`. Nothing heavy is imported before a command needs it, so that `--help`
answers at once."""

from sweeps.cli.streams import leaving_at_once, outlets  # isort: split

with leaving_at_once():
    import os
    import sys
    import traceback
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Annotated

    import typer
    from typer.exceptions import TyperException

    from sweeps import secrets
    from sweeps.cli import (
        catalogue,
        data,
        explain,
        options,
        reading,
        reproduce,
        run_commands,
        show,
        text,
    )
    from zoneout_core.config import parts, registry
    from zoneout_core.config.plugins import Plugins
    from zoneout_core.errors import PluginError, ZoneoutError

USER_ERROR = 2
"""Exit code of every error that the user can put right."""
FAULT = 1
"""Exit code of every other error, and of a command that could not do everything it was asked."""

app = typer.Typer(
    name="sweep",
    epilog=(
        "Begin with: sweep run demo. Add --traceback to any command to see where an error was"
        " raised."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"sweep {version('zoneout-sweeps')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    plugins: Annotated[
        Path | None,
        typer.Option(
            "--plugins",
            metavar="DIR",
            help="A folder with cells, regularizers, tasks, workloads, spaces and sweeps of your"
            " own; it may also stand after the command.",
            show_default="$ZONEOUT_PLUGINS",
        ),
    ] = None,
) -> None:
    """Train many zoneout RNN trials at once, without losing or mixing up a result."""
    if plugins is not None:
        registry.use(Plugins.read(plugins))


def _epilog(examples: Sequence[str]) -> str:
    """What stands below the options of a command."""
    if not examples:
        return options.PLUGINS_NOTE
    lines = "\n".join(f"  {example}" for example in examples)
    return f"{options.PLUGINS_NOTE}\n\n\b\nExamples:\n{lines}"


for command, examples in (
    (catalogue.ls, ()),
    (show.show, ("sweep show figure3 --set epochs=2", "sweep show demo --explain")),
    (explain.explain, ("sweep explain learning_rate", "sweep explain optim zoneout")),
    (run_commands.run, (
        "sweep run demo",
        "sweep run figure3 --data data --set seeds=0,1,2",
        "sweep run demo --set hidden_size=64 --set scheduler=asha --inline",
    )),
    (run_commands.resume, ("sweep resume latest", "sweep resume latest --set num_trials=100")),
    (reading.status, ("sweep status latest",)),
    (run_commands.stop, ("sweep stop latest",)),
    (reading.report, ()),
    (reading.export, (
        "sweep export latest > trials.csv",
        "sweep export latest --curves --format json",
    )),
    (run_commands.deliver, ("sweep deliver latest --tracking http://127.0.0.1:5000",)),
    (reproduce.reproduce, (
        "sweep reproduce table1 --scale smoke",
        "sweep reproduce figure4 --seeds 3 --rows zoneout,unregularized",
        "sweep reproduce table2 --show",
    )),
    (reading.ui, ("sweep ui", "sweep ui demo-20261121-231500 --port 0")),
):  # fmt: skip
    app.command(epilog=_epilog(examples))(command)
app.add_typer(
    data.app, name="data", help="List the data files of the tasks, and fetch missing ones."
)


def main(command_line: Sequence[str] | None = None) -> None:
    """Run `command_line`, or the arguments of this process.

    Exits with 0, with 2 for an error that the user can put right, with 1 for any other error, and
    with 130 after Ctrl-C or another signal that asks to stop. An error is printed on stderr without
    a traceback, unless `--traceback` or $ZONEOUT_TRACEBACK asks for one. With `--json` it is also
    the one JSON document on stdout: `{"error": KIND, "message": TEXT}`. No password is ever
    printed.
    """
    with outlets(), registry.using(None):
        code = _answer(sys.argv[1:] if command_line is None else command_line)
    apart = sys.modules.get("sweeps.drivers.apart")
    if apart is not None and apart.left_behind:
        os._exit(code)
    sys.exit(code)


def _answer(command_line: Sequence[str]) -> int:
    """Run `command_line` and return its exit code."""
    arguments = [argument for argument in command_line if argument != "--traceback"]
    plugins, rest = options.plugins_apart(arguments)
    arguments = [*plugins, *rest]
    try:
        code = app(arguments, prog_name="sweep", standalone_mode=False)
    except TyperException as error:  # a command line that cannot be read
        error.message = secrets.mask(error.message)
        _print_json(error, error.format_message(), arguments)
        _print_usage(error)
        code = error.exit_code
    except Exception as error:
        if "--traceback" in command_line or os.environ.get("ZONEOUT_TRACEBACK"):
            typer.echo(secrets.mask("".join(traceback.format_exception(error))), err=True, nl=False)
        if isinstance(error, ZoneoutError):
            code = USER_ERROR
            message = str(error)
        else:
            code = FAULT
            kind = type(error).__name__
            message = f"{kind}: {error} (add --traceback to see where it was raised)"
        message = secrets.mask(message)
        _print_json(error, message, arguments)
        text.echo(f"error: {message}", err=True)
        if not isinstance(error, PluginError):
            _warn_of_broken_parts()
    else:
        _warn_of_broken_parts()
    if isinstance(code, int):
        return code
    return 0


def _warn_of_broken_parts() -> None:
    """Print a line for each regularizer whose file is broken, if the command looked at
    regularizers: its output lacks their settings. Commands that train refuse to start."""
    if parts.REGULARIZERS in sys.modules:
        for error in parts.broken_regularizers():
            text.echo(f"warning: {text.one_line(error)}", err=True)


def _print_json(error: Exception, message: str, arguments: list[str]) -> None:
    if "--json" in arguments:
        options.show_json({"error": type(error).__name__, "message": message})


def _print_usage(error: TyperException) -> None:
    """The usage of the command and what is wrong with it, in Typer's words."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
    else:
        text.echo(f"error: {error.format_message()}", err=True)
