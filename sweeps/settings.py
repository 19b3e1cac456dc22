"""Every setting of a sweep and of its trials, as a user knows it. Imports no torch.

The settings are gathered here alone: from the fields of `Sweep`, of `TrialConfig` and its sections,
and of every cell and regularizer, plug-ins included. `sweep explain`, `sweep show --explain` and
docs/settings.md read them.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin

from search_spaces import zoneout_plane
from sweeps.definition import RESUMABLE, SETTABLE, Sweep
from zoneout_core import tasks
from zoneout_core.config import parts, registry
from zoneout_core.config.fields import hints, plain
from zoneout_core.config.model import CELLS
from zoneout_core.config.setting_texts import field_texts, file_summary
from zoneout_core.config.trial import CORE, LISTING, PLAIN, TrialConfig
from zoneout_core.errors import UnknownName

SWEEP, TRIAL = "sweep", "trial"
"""The two groups whose settings are written without a section."""

_CITATIONS = re.compile(r"\bspec(?: sections?)?((?:,? (?:and )?\d+(?:\.\d+)*\b)+)")
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting, as a user knows it."""

    key: str
    """Its name for `--set`."""
    group: str
    """`sweep`, `trial`, or a section of a trial's configuration: `model`, `cell`, ..."""
    part: str
    """The cell or regularizer that declares it; empty in other groups."""
    text: str
    """Its meaning; empty where its class does not say."""
    kind: str
    """The kind of its values: `a whole number`, `one of these words`, ..."""
    words: tuple[str, ...]
    """All values, where there is a list of them."""
    rule: str
    """The range of a number, such as `at least 1`; empty where every number will do."""
    default: Any
    """None for the space, which has no default."""
    per_lane: bool
    """Whether the lanes of one pack may differ in it."""
    resumable: bool
    """Whether `sweep resume --set` may change it."""

    @property
    def name(self) -> str:
        """The key without its section."""
        return self.key.rpartition(".")[2]

    @property
    def values(self) -> str:
        """The values that it takes, in words."""
        if self.words:
            return ", ".join(self.words)
        if self.rule.startswith("a "):  # the rule says what kind of value it is
            return self.rule
        if self.rule.startswith("at "):
            return f"{self.kind} of {self.rule}"
        return f"{self.kind} {self.rule}".rstrip()

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of docs/spec.md that its text cites, in their order."""
        cited: set[str] = set()
        for match in _CITATIONS.finditer(self.text):
            cited.update(re.findall(r"\d+(?:\.\d+)*", match[1]))
        return tuple(sorted(cited, key=_order))

    def to_json(self) -> dict[str, object]:
        """Plain data, for scripts."""
        return {
            "key": self.key,
            "group": self.group,
            "part": self.part,
            "text": self.text,
            "type": self.kind,
            "words": list(self.words),
            "rule": self.rule,
            "default": plain(self.default),
            "belongs_to": "sweep" if self.group == SWEEP else "trial",
            "lanes_may_differ": self.per_lane,
            "resume_may_change": self.resumable,
            "spec_sections": list(self.sections),
        }


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """The settings of a section, or of one cell or regularizer."""

    name: str
    """`optim`, or `regularizer.zoneout`."""
    title: str
    """What it is, in one line."""
    settings: tuple[Setting, ...]


@registry.cached
def groups() -> tuple[SettingGroup, ...]:
    """All settings by group, in the order of their definition. A part whose file is broken is left
    out."""
    gathered = [
        SettingGroup(SWEEP, "Which trials run, and how.", tuple(_sweep_settings())),
        SettingGroup(TRIAL, "What one trial learns, from what, and for how long.", tuple(_trial())),
        _core("model"),
        *(_part(kind, "cell", "cell", name) for name, kind in parts.cells().items()),
        *(
            _part(kind, "regularizer", f"regularizer.{name}", name)
            for name, kind in parts.regularizers().items()
        ),
        _core("optim"),
    ]
    return tuple(group for group in gathered if group.settings)


def settings() -> tuple[Setting, ...]:
    """All settings, in the order of their definition."""
    return tuple(setting for group in groups() for setting in group.settings)


def find(word: str) -> tuple[Setting, ...]:
    """The settings that a user means by a full key, a name, a section, or a cell or regularizer.

    Raises `UnknownName` with the closest names.
    """
    known = settings()
    readings: tuple[Callable[[Setting], bool], ...] = (
        lambda setting: setting.key == word,
        lambda setting: setting.name == word,
        lambda setting: setting.group == word,
        lambda setting: setting.part != "" and f"{setting.group}.{setting.part}" == word,
        lambda setting: setting.part != "" and setting.part == word,
    )
    for reading in readings:
        if chosen := tuple(filter(reading, known)):
            return chosen
    if "." in word:  # suggest full names to a user who writes them
        names = {setting.key for setting in known} | {group.name for group in groups()}
    else:
        names = {setting.name for setting in known} | {setting.group for setting in known}
        names |= {setting.part for setting in known if setting.part}
    raise UnknownName("setting", word, names, LISTING)


def _sweep_settings() -> Iterator[Setting]:
    example = Sweep(name="example", description="", base=TrialConfig(), space=zoneout_plane.space())
    for f in fields(Sweep):
        if f.name in SETTABLE:
            yield _setting(Sweep, f, SWEEP, "", f.name, functools.partial(replace, example))


def _trial() -> Iterator[Setting]:
    for f in PLAIN:
        yield _setting(TrialConfig, f, TRIAL, "", f.name, TrialConfig)


def _core(section: str) -> SettingGroup:
    """The settings of a section that every trial has."""
    owner = CORE[section]
    settings = [
        _setting(owner, f, section, "", f"{section}.{f.name}", owner) for f in fields(owner)
    ]
    return SettingGroup(section, field_texts(TrialConfig)[section], tuple(settings))


def _part(owner: type[Any], section: str, prefix: str, name: str) -> SettingGroup:
    """The settings of a cell or regularizer, written `prefix.FIELD`."""
    settings = [
        _setting(owner, f, section, name, f"{prefix}.{f.name}", owner) for f in fields(owner)
    ]
    return SettingGroup(f"{section}.{name}", file_summary(owner), tuple(settings))


def _setting(
    owner: type,
    f: Field[Any],
    group: str,
    part: str,
    key: str,
    build: Callable[..., object],
) -> Setting:
    hint = hints(owner)[f.name]
    return Setting(
        key=key,
        group=group,
        part=part,
        text=field_texts(owner)[f.name],
        kind=_kind(hint),
        words=_words(key, hint),
        rule=_rule(build, f.name) if hint in (int, float) else "",
        default=None if f.default is MISSING else f.default,
        per_lane=bool(f.metadata.get("lane")),
        resumable=group == SWEEP and f.name in RESUMABLE,
    )


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of these words"
    if get_origin(hint) is tuple:
        return "whole numbers, separated by commas"
    return _KINDS.get(hint, "a name")


def _words(key: str, hint: Any) -> tuple[str, ...]:
    if get_origin(hint) is Literal:
        return tuple(str(word) for word in get_args(hint))
    if hint is bool:
        return ("true", "false")
    lists: dict[str, Callable[[], list[str]]] = {
        "task": tasks.names,
        "model.cell": lambda: registry.names(CELLS),
        "space": lambda: registry.names("search_spaces"),
    }
    return tuple(lists.get(key, list)())


def _rule(build: Callable[..., object], name: str) -> str:
    """The range of a number, taken from the message with which its own check refuses -1, so that a
    rule is written only once. Empty where every number will do."""
    try:
        build(**{name: -1})
    except Exception as error:  # a plug-in may raise anything; without the message it has no rule
        match = re.match(rf"(?:[\w.]+\.)?{name} must be (.+?), but is ", str(error))
        if match:
            return match[1]
    return ""


def _order(section: str) -> tuple[int, ...]:
    return tuple(int(number) for number in section.split("."))
