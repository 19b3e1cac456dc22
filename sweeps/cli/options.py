"""Options that several commands share, and the printing of JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zoneout_core.errors import ConfigError


def _require_folder(parameter: typer.CallbackParam, folder: Path) -> Path:
    """`folder`, which need not exist yet. Raises `ConfigError` for a file."""
    if folder.is_file():
        raise ConfigError(
            f"{parameter.opts[0]} must be a folder, but {folder.absolute()} is a file. Name another"
            " folder, or leave the option out."
        )
    return folder


HomeDir = Annotated[
    Path,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="ZONEOUT_HOME",
        callback=_require_folder,
        help="The folder that holds all runs.",
    ),
]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="ZONEOUT_DATA",
        callback=_require_folder,
        help="The folder of the data files.",
    ),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run of `sweep ls --runs`, or `latest`.")
]
SweepName = Annotated[str, typer.Argument(metavar="NAME", help="A sweep of `sweep ls`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting (see `sweep explain`); may be repeated.",
    ),
]
LanesOption = Annotated[
    int | None,
    typer.Option(
        "--lanes", metavar="N", help="Train at most N trials together; with 1, each trains alone."
    ),
]

DEFAULT_DATA = Path("data")
PLUGINS_NOTE = (
    "Every command also takes --plugins DIR, a folder with cells, tasks, sweeps and so on of your"
    " own (default: $ZONEOUT_PLUGINS); see `sweep --help`."
)
"""What the help of each command says of the option that they all share."""


def plugins_apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """`--plugins DIR`, which may stand before or after the command, and all other arguments."""
    for start, argument in enumerate(arguments):
        if argument == "--plugins":
            end = start + 2
        elif argument.startswith("--plugins="):
            end = start + 1
        else:
            continue
        if end > len(arguments):  # the folder is missing, and no other argument is taken for it
            return ["--plugins"], []
        return list(arguments[start:end]), [*arguments[:start], *arguments[end:]]
    return [], list(arguments)


def parse(settings: list[str] | None, lanes: int | None = None) -> dict[str, object]:
    """`KEY=VALUE` texts as a mapping. Raises `ConfigError` for a text without `=`."""
    values: dict[str, object] = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"--set takes KEY=VALUE, but got {text!r}. For example: --set epochs=2"
            )
        values[key.strip()] = value.strip()
    if lanes is not None:
        values["lanes"] = lanes
    return values


def show_json(value: object) -> None:
    """Print `value` as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
