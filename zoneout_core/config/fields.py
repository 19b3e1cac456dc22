"""Fields of a configuration: their types, how a value is read, and the rules it must keep. Imports
no torch.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from math import isfinite, isinf
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from zoneout_core.errors import ConfigError, UnknownName

LANE = {"lane": True}
"""Metadata of a field in which the lanes of one pack may differ."""
ENDLESS = {"endless": True}
"""Metadata of a float that may be infinite."""
LARGEST = 2**63 - 1
"""The largest integer in a configuration."""


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


PartType = TypeVar("PartType", bound=Dataclass)


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


def require_dropped(name: str, p: float, *, inverted: bool) -> None:
    """Raise `ConfigError` unless p is a probability, and below 1 where training divides by 1 -
    p."""
    require_probability(name, p)
    require(not inverted or p < 1, name, p, "below 1, since training divides by 1 - p")


def coerce(owner: type, name: str, value: object, section: str = "") -> Any:
    """`value` as the type of field `name` of dataclass `owner`. It may be a string, as on a command
    line.

    section: precedes the name in a message. Raises `UnknownName` for a word that the field does not
    know, and `ConfigError` for a value of another type.
    """
    hint = hints(owner)[name]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            words = [str(word) for word in get_args(hint)]
            raise UnknownName(f"value of {dotted(section, name)}", str(value), words)
        return value
    must, read = _READERS.get(hint, (hint.__name__, hint))
    try:
        typed = read(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _refusal(dotted(section, name), value, must) from None
    if hint is int:
        require(abs(typed) <= LARGEST, dotted(section, name), value, "below 2^63 in size")
    return typed


def dotted(section: str, name: str) -> str:
    """`section.name`, or the name alone at the top level."""
    if section:
        return f"{section}.{name}"
    return name


def replaced(part: PartType, values: Mapping[str, object], section: str = "") -> PartType:
    """The dataclass `part` with these values, each as the type of its field; `part` itself when no
    value differs.

    Raises `UnknownName` for a field that it does not have, and what `coerce` raises.
    """
    kind: type = type(part)
    changes = {}
    for name, value in values.items():
        if name not in _names(kind):
            raise UnknownName(f"setting of {section}", name, _names(kind))
        current = getattr(part, name)
        if type(value) is type(current) and value == current:
            continue  # most fields of most trials, and reading one takes longer
        typed = coerce(kind, name, value, section)
        if current != typed:
            changes[name] = typed
    if changes:
        return replace(part, **changes)
    return part


@functools.cache
def hints(owner: type) -> dict[str, Any]:
    """The type of each field of dataclass `owner`. Cached: resolving them is the slowest part of
    making a trial."""
    return get_type_hints(owner)


@functools.cache
def fields_of(owner: type) -> tuple[Field[Any], ...]:
    """The fields of dataclass `owner`, in order."""
    return fields(owner)


@functools.cache
def _names(owner: type) -> frozenset[str]:
    return frozenset(f.name for f in fields_of(owner))


@functools.cache
def _floats(owner: type) -> tuple[str, ...]:
    return tuple(
        f.name
        for f in fields_of(owner)
        if hints(owner)[f.name] is float and not f.metadata.get("endless")
    )


def require_finite(part: object, section: str = "") -> None:
    """Raise `ConfigError` if a float of the dataclass `part` is infinite or not a number, and name
    it."""
    kind: type = type(part)
    for name in _floats(kind):
        value = getattr(part, name)
        if not isfinite(value):
            raise _refusal(dotted(section, name), value, "a finite number")


def plain(value: object) -> Any:
    """`value` as strict JSON can hold it: infinity is the word `inf`, which `coerce` reads
    again."""
    if isinstance(value, float):
        return str(value) if isinf(value) else value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _read_bool(value: object) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


def _read_integer(value: Any) -> int:
    integer = int(value)
    if isinstance(value, bool) or (integer != value and not isinstance(value, str)):
        raise ValueError
    return integer


def _read_number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    # Adding 0.0 turns -0.0 into 0.0: as text it would make another shape key.
    return float(value) + 0.0


_READERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bool: ("true or false", _read_bool),
    int: ("a whole number", _read_integer),
    float: ("a number", _read_number),
}
"""By the type of a field: what its value must be, and the function that reads it."""
