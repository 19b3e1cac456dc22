"""How commands write what they show: durations, values, tables, and plain text on a terminal."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import typer

from sweeps.cli import compat
from zoneout_core.errors import ZoneoutError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a colour, a move of the cursor
    r"|\x1b[\]PX^_].*?(?:\x1b\\|\x07)"  # a title, a link
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # any other, except line breaks and tabs
)


def plain(message: str) -> str:
    """`message` without control characters: errors and reasons may come from other programs."""
    return _CONTROL.sub("", message)


def echo(message: str, *, err: bool = False) -> None:
    """A line on stdout or stderr, in plain text."""
    typer.echo(plain(message), err=err)


def one_line(error: Exception) -> str:
    """The message of an error in one line, with its class where it is an unexpected one."""
    if isinstance(error, ZoneoutError):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error}"
    return " ".join(message.split())


def console(*, stderr: bool = False) -> "Console":
    """A terminal that prints `plain` text: no markup, no guessed colours."""
    return compat.filtered_console(plain, stderr=stderr, highlight=False, markup=False, emoji=False)


def duration(seconds: float) -> str:
    """`seconds` in the two largest units that apply: `7 s`, `3 min 20 s`, `2 h 05 min`,
    `3 d 04 h`."""
    rounded = max(0, round(seconds))
    for large, small, size, part in (
        ("d", "h", 86400, 3600),
        ("h", "min", 3600, 60),
        ("min", "s", 60, 1),
    ):
        if rounded >= size:
            return f"{rounded // size} {large} {rounded % size // part:02d} {small}"
    return f"{rounded} s"


def clock(seconds: float) -> str:
    """`seconds` for a narrow column: `0:07`, `3:20`, `2:05:00`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"


def value(hyperparameter: object) -> str:
    """A hyperparameter, short enough for a table; `sweep export` has every digit."""
    if isinstance(hyperparameter, float):
        return f"{hyperparameter:.6g}"
    return str(hyperparameter)


def number(measured: float) -> str:
    """A metric with four decimals, or with four significant digits where it is below 0.1 (an error
    rate, a cost)."""
    if abs(measured) >= 0.1 or measured == 0:
        return f"{measured:.4f}"
    return f"{measured:.4g}"


def short(key: str) -> str:
    """A dotted key without its section."""
    return key.rpartition(".")[2]


def short_names(keys: Iterable[str]) -> list[str]:
    """Each key without its section; with the last part of it where two would read the same."""
    keys = list(keys)
    names = [short(key) for key in keys]
    if len(set(names)) < len(names):
        return [".".join(key.split(".")[-2:]) for key in keys]
    return names


def assignment(params: Mapping[str, object]) -> str:
    """`z_cells=0.5, z_states=0.05`"""
    names = short_names(params)
    pairs = zip(names, params.values(), strict=True)
    return ", ".join(f"{name}={value(hyperparameter)}" for name, hyperparameter in pairs)


def listed(field: object) -> str:
    """A field of a definition as `--set` takes it: `0,1,2`; an empty text shows as `''`."""
    if isinstance(field, list | tuple):
        return ", ".join(str(item) for item in field)
    if field != "":
        return str(field)
    return "''"


def pairs(table: Mapping[str, str]) -> "Table":
    """Two columns without a frame; only the second one wraps."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for key, description in table.items():
        grid.add_row(key, description)
    return grid
