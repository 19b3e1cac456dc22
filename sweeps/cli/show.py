"""`sweep show`: the complete definition of a sweep, and the meaning of its settings."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces import Choice, Product, Range, Space, Switch
from sweeps import definition, settings
from sweeps.cli import options, text
from sweeps.definition import Sweep
from sweeps.settings import Setting

if TYPE_CHECKING:
    from rich.console import Console

FIRST = ("task", "model.cell", "model.hidden_size", "epochs")
"""Settings of a trial that have a line of their own even where they have their default."""


def show(
    name: options.SweepName,
    values: options.Settings = None,
    lanes: options.LanesOption = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Explain each setting that differs from its default."),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Print the complete definition of a sweep."""
    sweep = definition.get(name).with_values(options.parse(values, lanes))
    if as_json:
        options.show_json(sweep.to_json())
        return
    console = text.console()
    console.print(f"{sweep.name}: {sweep.description}")
    tables = {
        f"Searched, {sweep.cut or f'{sweep.max_trials} trials'}:": dict(
            _described(sweep.search_space)
        ),
        "The sweep:": _of_sweep(sweep, unusual=explain),
        "Every trial:": _of_trials(sweep),
    }
    for title, table in tables.items():
        console.print(f"\n{title}")
        if explain:
            _print_explained(console, table, _texts(sweep))
        else:
            _print_indented(console, text.pairs(table))
    if explain:
        _print_unexplained(console, sweep, tables.values())
        console.print("\nEvery other setting has its default. See them with: sweep explain")
        return
    console.print("\nEvery trial, by default:")
    _print_indented(console, ", ".join(f"{key}={value}" for key, value in _defaults(sweep).items()))
    console.print("\nWhat a setting means: sweep explain KEY, or sweep show NAME --explain")


def _of_sweep(sweep: Sweep, *, unusual: bool) -> dict[str, str]:
    """Settings of the sweep; if `unusual`, only those that differ from their defaults."""
    plain = sweep.to_json()
    return {
        setting.key: text.listed(plain[setting.key])
        for setting in settings.settings()
        if setting.group == settings.SWEEP
        and setting.key != "space"
        and not (unusual and getattr(sweep, setting.key) == setting.default)
    }


def _of_trials(sweep: Sweep) -> dict[str, str]:
    """The settings that all trials share: `FIRST`, and those that differ from their defaults."""
    keys = [*FIRST, *sweep.base.changed()]
    return {key: value for key, value in _shared(sweep).items() if key in keys}


def _defaults(sweep: Sweep) -> dict[str, str]:
    """The settings that all trials leave at their defaults; of cells and regularizers, only those
    in use."""
    shown = _of_trials(sweep)
    used = {setting.key for setting in settings.settings() if _is_used(setting, sweep)}
    return {key: value for key, value in _shared(sweep).items() if key in used and key not in shown}


def _is_used(setting: Setting, sweep: Sweep) -> bool:
    if setting.group == "cell":
        return setting.part == sweep.base.model.cell
    if setting.group == "regularizer":
        keys = {*sweep.base.changed(), *sweep.search_space.keys()}
        return any(other.key in keys for other in settings.find(f"regularizer.{setting.part}"))
    return True


def _shared(sweep: Sweep) -> dict[str, str]:
    """The settings of a trial that are neither searched nor the seed."""
    searched = {*sweep.search_space.keys(), "seed"}
    return {
        key: text.listed(value) for key, value in sweep.base.flat().items() if key not in searched
    }


def _described(space: Space, case: str = "") -> Iterator[tuple[str, str]]:
    """The values that each key of a space may take, in words."""
    match space:
        case Choice():
            yield space.key + case, text.listed(space.values)
        case Range():
            logarithm = ", by its logarithm" if space.log else ""
            yield space.key + case, f"{space.low} to {space.high}{logarithm}"
        case Product():
            for part in space.parts:
                yield from _described(part, case)
        case Switch():
            yield space.key + case, text.listed([value for value, _ in space.cases])
            for value, inner in space.cases:
                label = f"{case} [{text.short(space.key)}={value}]"
                match list(islice(inner.corners(), 2)):
                    case [point]:  # a row of a table: its settings, if any, in one line
                        if point:
                            yield label.strip(), text.assignment(point)
                    case _:
                        yield from _described(inner, label)


def _print_indented(console: "Console", content: Any, indent: int = 2) -> None:
    from rich.padding import Padding

    console.print(Padding(content, (0, 0, 0, indent)))


def _texts(sweep: Sweep) -> dict[str, str]:
    """The meaning of each key. Where several cells have a key, it is that of the sweep's cell."""
    known = settings.settings()
    chosen = [setting for setting in known if _is_used(setting, sweep)]
    return {setting.key: setting.text for setting in (*known, *chosen)}


def _print_explained(
    console: "Console", table: Mapping[str, str], texts: Mapping[str, str]
) -> None:
    """Print each row, and below it the meaning of its setting."""
    for key, value in table.items():
        _print_indented(console, f"{key}  {value}")
        if key in texts:
            _print_indented(console, texts[key], 6)
    if not table:
        _print_indented(console, "nothing but defaults")


def _print_unexplained(
    console: "Console", sweep: Sweep, tables: Iterable[Mapping[str, str]]
) -> None:
    """Print the meaning of settings that stand within a row, where several share a line."""
    explained = {key for table in tables for key in table}
    unexplained = {
        key: meaning
        for key, meaning in _texts(sweep).items()
        if key in sweep.search_space.keys() and key not in explained
    }
    if not unexplained:
        return
    console.print("\nWithin the rows:")
    for key, meaning in unexplained.items():
        _print_indented(console, key)
        _print_indented(console, meaning, 6)
