"""`sweep explain`: the meaning of settings, on a terminal, as JSON, or as the page
docs/settings.md."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps import settings
from sweeps.cli import options, text
from sweeps.settings import Setting
from zoneout_core.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY",
        help="Settings (`learning_rate`), sections (`optim`), cells or regularizers (`zoneout`).",
        show_default="all",
    ),
]


def explain(
    keys: Keys = None,
    as_json: options.AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all of them as the page docs/settings.md.")
    ] = False,
) -> None:
    """Say what settings mean, and which values they take."""
    if markdown:
        if keys or as_json:
            raise ConfigError(
                "--markdown prints the page of all settings, so it takes neither a KEY nor --json."
                " Leave them out."
            )
        from sweeps.cli.settings_page import page

        typer.echo(page(), nl=False)
        return
    chosen = list(dict.fromkeys(s for key in keys or [] for s in settings.find(key.strip())))
    if not keys:
        chosen = list(settings.settings())
    if as_json:
        options.show_json([setting.to_json() for setting in chosen])
        return
    console = text.console()
    if len(chosen) <= len(keys or []):  # every setting was named
        _print_details(console, chosen)
    else:
        _print_groups(console, chosen, in_full=bool(keys))
    if not keys:
        text.echo("\nExplain some of them in full with: sweep explain KEY")


def _print_details(console: "Console", chosen: Iterable[Setting]) -> None:
    """Everything known about each setting."""
    from rich.padding import Padding

    for index, setting in enumerate(chosen):
        if index:
            console.print()
        console.print(setting.key)
        console.print(Padding(setting.text or NO_TEXT, (0, 0, 1, 2)))
        console.print(Padding(text.pairs(details(setting)), (0, 0, 0, 2)))


def _print_groups(console: "Console", chosen: Iterable[Setting], *, in_full: bool) -> None:
    """By group: each setting with its values and its text, or only the first sentence of that."""
    from rich.padding import Padding

    wanted = set(chosen)
    for index, group in enumerate(settings.groups()):
        rows = [setting for setting in group.settings if setting in wanted]
        if not rows:
            continue
        if index and not in_full:
            console.print()
        console.print(f"{group.name}: {group.title}")
        for setting in rows:
            if in_full:
                meaning = setting.text
            else:
                meaning = sentence(setting.text)
            console.print(Padding(heading(setting), (0, 0, 0, 2)))
            console.print(Padding(meaning, (0, 0, 0, 6)))


NO_TEXT = "Nobody has written what it means."


def heading(setting: Setting) -> str:
    """`optim.learning_rate = 0.002  [a number above 0]`"""
    return f"{setting.key} = {shown(setting.default)}  [{setting.values}]"


def sentence(paragraph: str) -> str:
    """The first sentence of a paragraph."""
    first, dot, _ = paragraph.partition(". ")
    return first + dot.strip()


def shown(default: Any) -> str:
    """A default as `--set` takes it."""
    if default is None:
        return "(none)"
    if isinstance(default, bool):
        return str(default).lower()
    return text.listed(default)


def details(setting: Setting) -> Mapping[str, str]:
    """What `sweep explain KEY` prints below the text, by heading."""
    rows = {"values": setting.values, "default": shown(setting.default)}
    if setting.group == settings.SWEEP:
        rows["belongs to"] = "the sweep as a whole"
    elif setting.per_lane:
        rows["belongs to"] = "each trial; lanes of one pack may differ in it"
    else:
        rows["belongs to"] = "each trial; lanes of one pack share it"
    if setting.part:
        rows["declared by"] = f"{setting.group} {setting.part}"
    if setting.resumable:
        rows["resume"] = f"`sweep resume RUN --set {setting.key}=VALUE` may change it"
    else:
        rows["resume"] = "a run keeps the value it began with"
    if setting.sections:
        rows["defined in"] = f"docs/spec.md, section {', '.join(setting.sections)}"
    return rows
