"""docs/settings.md: every setting in a table. `sweep explain --markdown` prints it."""

from collections.abc import Iterator

from sweeps import settings
from sweeps.cli.explain import NO_TEXT, shown
from sweeps.settings import Setting, SettingGroup

COMMAND = "sweep explain --markdown > docs/settings.md"
"""The command that writes the page."""
HEADINGS = {
    settings.SWEEP: "The sweep",
    settings.TRIAL: "Every trial",
    "model": "The network",
    "cell": "Cells",
    "regularizer": "Regularizers",
    "optim": "The optimizer",
}
"""Titles of the groups, by section."""
INTRODUCTION = f"""\
# Settings

<!-- Written by `{COMMAND}`. Do not edit. -->

What `--set KEY=VALUE` takes, by section. A key may leave out its section where no other setting has
the same name: `--set learning_rate=0.004`. `sweep explain KEY` prints the same on a terminal, for
the parts of a plug-in too.

The column **lanes** says whether the trials of one pack may differ in a setting, the column
**resume** whether `sweep resume RUN --set KEY=VALUE` may change it. Section numbers are those of
[spec.md](spec.md).
"""


def page() -> str:
    """The complete page."""
    return INTRODUCTION + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    section = ""
    for group in settings.groups():
        first = group.settings[0]
        if first.group != section:
            section = first.group
            yield f"\n## {HEADINGS[section]}"
        if first.part:
            yield f"\n### {group.name}"
        yield from ("", group.title, "")
        yield from _table(group)


def _table(group: SettingGroup) -> Iterator[str]:
    last = "resume" if group.name == settings.SWEEP else "lanes"
    yield f"| setting | values | default | {last} | meaning |"
    yield "|---|---|---|---|---|"
    for setting in group.settings:
        yield _row(setting)


def _row(setting: Setting) -> str:
    if setting.group == settings.SWEEP:
        flag = setting.resumable
    else:
        flag = setting.per_lane
    cells = (
        f"`{setting.key}`",
        setting.values,
        f"`{shown(setting.default)}`",
        "yes" if flag else "no",
        setting.text or NO_TEXT,
    )
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


BAR = "\\|"
"""A bar that does not end the cell of a table."""
