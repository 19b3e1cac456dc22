"""How the commands word what they show: durations, values, the terminal, and the commands that come
next."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment
    from rich.table import Table

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a colour, a move of the cursor
    r"|\x1b[\]PX^_].*?(?:\x1b\\|\x07)"  # a title, a link
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # any other that is no line break and no tabulator
)


def plain(message: str) -> str:
    """`message` without control characters: errors and reasons are other programs' words."""
    return _CONTROL.sub("", message)


def echo(message: str, *, err: bool = False) -> None:
    """A line on stdout or stderr, in plain text."""
    typer.echo(plain(message), err=err)


def console(*, stderr: bool = False) -> "Console":
    """A terminal that prints texts as they are: no markup, no guessing of colours, and `plain`."""
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        def _render_buffer(self, buffer: "Iterable[Segment]") -> str:
            return super()._render_buffer(
                segment if segment.control else Segment(plain(segment.text), segment.style)
                for segment in buffer
            )

    return Plain(stderr=stderr, highlight=False, markup=False, emoji=False)


def duration(seconds: float) -> str:
    """`seconds` in the two largest units that say something: `7 s`, `3 min 20 s`, `2 h 05 min`, `3
    d 04 h`."""
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


def value(hyperparameter: Any) -> str:
    """A hyperparameter, short enough for a table; `sweep export` has every digit."""
    if isinstance(hyperparameter, float):
        return f"{hyperparameter:.6g}"
    return str(hyperparameter)


def number(measured: float) -> str:
    """A metric: four decimals, or four digits when it is small, as an error rate or a cost may
    be."""
    if abs(measured) >= 0.1 or measured == 0:
        return f"{measured:.4f}"
    return f"{measured:.4g}"


def short(key: str) -> str:
    """A dotted key without its section; field names are unique over the sections."""
    return key.rpartition(".")[2]


def assignment(params: Mapping[str, Any]) -> str:
    """`z_cells=0.5, z_states=0.05`"""
    return ", ".join(
        f"{short(key)}={value(hyperparameter)}" for key, hyperparameter in params.items()
    )


def listed(field: Any) -> str:
    """A field of a definition as `--set` takes it: `0,1,2`; an empty text shows as `''`."""
    if isinstance(field, list | tuple):
        return ", ".join(str(item) for item in field)
    if field != "":
        return str(field)
    return "''"


def pairs(table: Mapping[str, str]) -> "Table":
    """Two columns without a frame; only the second one is ever broken over lines."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for key, said in table.items():
        grid.add_row(key, said)
    return grid
