"""Sections of a configuration whose fields are declared by the files of a package. Imports no
torch.

A file of `zoneout_core.regularizers` or `zoneout_core.cells` holds one frozen dataclass, its part;
the section shows the fields of all parts flat, under names that are unique among them. Adding a
file adds its settings.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from math import isfinite, isinf
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from zoneout_core.config import registry
from zoneout_core.errors import ConfigError, UnknownName

LANE = {"lane": True}
"""Metadata of a field in which the lanes of one pack may differ."""
ENDLESS = {"endless": True}
"""Metadata of a float that may be infinite."""
LARGEST = 2**63 - 1
"""The largest whole number of a configuration."""

PartType = TypeVar("PartType")


def require(rule: bool, field_name: str, value: object, must: str) -> None:
    """Raise `ConfigError` naming the field, its value and the rule, unless `rule` holds."""
    if not rule:
        raise _refusal(field_name, value, must)


def _refusal(field_name: str, value: object, must: str) -> ConfigError:
    return ConfigError(
        f"{field_name} must be {must}, but is {value!r}. Set it with --set {field_name}=VALUE."
    )


def require_probability(field_name: str, value: float) -> None:
    """Raise `ConfigError` unless 0 <= value <= 1."""
    require(0.0 <= value <= 1.0, field_name, value, "a probability from 0 to 1")


def coerce(owner: type, name: str, value: Any) -> Any:
    """`value` as the type of field `name` of dataclass `owner`; strings are read as a command line
    gives them.

    Raises `UnknownName` for a word that the field does not know, and `ConfigError` for a value of
    another type.
    """
    hint = hints(owner)[name]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UnknownName(f"value of {name}", str(value), [str(a) for a in get_args(hint)])
        return value
    must, read = _READERS.get(hint, (hint.__name__, hint))
    try:
        told = read(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _refusal(name, value, must) from None
    require(hint is not int or abs(told) <= LARGEST, name, value, "below 2^63 in size")
    return told


def replaced(part: PartType, values: Mapping[str, Any]) -> PartType:
    """The dataclass `part` with these values, each as the type of its field; itself when nothing is
    new."""
    told = {name: coerce(type(part), name, value) for name, value in values.items()}
    news = {name: value for name, value in told.items() if getattr(part, name) != value}
    # Every part is a dataclass, which a type variable cannot say.
    return replace(part, **news) if news else part  # type: ignore[type-var]


@functools.cache
def hints(owner: type) -> dict[str, Any]:
    """The type of each field of dataclass `owner`; resolving them takes longer than all else that
    makes a trial."""
    return get_type_hints(owner)


@functools.cache
def _floats(owner: type) -> tuple[str, ...]:
    return tuple(
        f.name
        for f in fields(owner)
        if hints(owner)[f.name] is float and not f.metadata.get("endless")
    )


def require_finite(part: Any, section: str = "") -> None:
    """Raise `ConfigError` naming a float of the dataclass `part` that is infinite or no number, if
    there is one."""
    kind: type = type(part)
    for name in _floats(kind):
        value = getattr(part, name)
        if not isfinite(value):
            raise _refusal(f"{section}.{name}" if section else name, value, "a finite number")


def plain(value: Any) -> Any:
    """`value` as strict JSON can hold it: infinity is the word `inf`, which `coerce` reads
    again."""
    if isinstance(value, float) and isinf(value):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def _read_truth(value: Any) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


def _read_whole(value: Any) -> int:
    whole = int(value)
    if isinstance(value, bool) or (whole != value and not isinstance(value, str)):
        raise ValueError
    return whole


def _read_number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return (
        float(value) + 0.0
    )  # there is one zero: -0.0 would be another text, and so another shape key


_READERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bool: ("true or false", _read_truth),
    int: ("a whole number", _read_whole),
    float: ("a number", _read_number),
}
"""What a field of this type must be, and how a value becomes it."""


class Section:
    """A flat, frozen view of parts. `section.z_cells` reads a field, `section.part(Zoneout)` the
    part that owns it."""

    package: ClassVar[str]
    """Dotted name of the package whose files declare the parts, each as its module's `PART`."""
    __slots__ = ("parts",)
    parts: tuple[Any, ...]

    def __init__(self, **values: Any) -> None:
        """Raises `UnknownName` for a field that no part has, and `ConfigError` for a value out of
        its range."""
        owners = self.owners()
        for name in values:
            if name not in owners:
                raise UnknownName(f"setting of {self.package.rpartition('.')[2]}", name, owners)
        parts = [
            kind(**{k: v for k, v in values.items() if owners[k] is kind}) for kind in self.kinds()
        ]
        object.__setattr__(self, "parts", tuple(parts))

    @classmethod
    @registry.cached
    def kinds(cls) -> tuple[type, ...]:
        """The part classes, by file name."""
        return tuple(
            registry.load(cls.package, name, "part").PART for name in registry.names(cls.package)
        )

    @classmethod
    @registry.cached
    def owners(cls) -> dict[str, type]:
        """The part class of every field."""
        owners: dict[str, type] = {}
        for kind in cls.kinds():
            for f in fields(kind):
                assert f.name not in owners, (
                    f"{f.name} is declared by {kind.__name__} and {owners[f.name].__name__}"
                )
                owners[f.name] = kind
        return owners

    @classmethod
    @registry.cached
    def places(cls) -> dict[type, int]:
        """Where the part of a class is among the parts."""
        return {kind: place for place, kind in enumerate(cls.kinds())}

    @classmethod
    @registry.cached
    def _places_of_fields(cls) -> dict[str, int]:
        return {name: cls.places()[kind] for name, kind in cls.owners().items()}

    @classmethod
    @registry.cached
    def _defaults(cls) -> tuple[Any, ...]:
        """The parts of which nothing was set."""
        return tuple(kind() for kind in cls.kinds())

    @classmethod
    @registry.cached
    def default(cls) -> Self:
        """The section of which nothing was set."""
        return cls()

    @classmethod
    def declared(cls) -> dict[str, Field[Any]]:
        """The dataclass field behind every name."""
        return {f.name: f for kind in cls.kinds() for f in fields(kind)}

    def part(self, kind: type[PartType]) -> PartType:
        """The part of class `kind`."""
        found: PartType = self.parts[self.places()[kind]]
        return found

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with these fields replaced; values are checked by the field's type."""
        owners, places, parts = self.owners(), self.places(), list(self.parts)
        own: dict[type, dict[str, Any]] = {}
        for name, value in values.items():
            own.setdefault(owners[name], {})[name] = value
        for kind, theirs in own.items():
            parts[places[kind]] = replaced(parts[places[kind]], theirs)
        copy = object.__new__(type(self))
        object.__setattr__(copy, "parts", tuple(parts))
        return copy

    def values(self) -> dict[str, Any]:
        """Every field."""
        return {
            name: getattr(self.parts[place], name)
            for name, place in self._places_of_fields().items()
        }

    def changed(self) -> dict[str, Any]:
        """The fields that do not have their default value."""
        told: dict[str, Any] = {}
        for part, default in zip(self.parts, self._defaults(), strict=True):
            if part != default:
                pairs = (
                    (f.name, getattr(part, f.name), getattr(default, f.name)) for f in fields(part)
                )
                told |= {name: value for name, value, usual in pairs if value != usual}
        return told

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in (places := self._places_of_fields()):
            raise AttributeError(name)
        return getattr(self.parts[places[name]], name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Section) and type(other) is type(self) and self.parts == other.parts
        )

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.changed().items())})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.changed())


def _rebuild(kind: type[Section], values: dict[str, Any]) -> Section:
    return kind(**values)
