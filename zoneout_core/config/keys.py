"""Which keys a configuration has, and the types of their values. Imports no torch."""

from dataclasses import fields
from typing import Any

from zoneout_core.config import part_keys, registry
from zoneout_core.config.fields import dotted, hints
from zoneout_core.config.trial import CORE, PLAIN, TrialConfig, locate


def full_key(key: str) -> str:
    """The full key for a key that may be short. Raises what `locate` raises."""
    return dotted(*locate(key))


@registry.cached
def keys() -> tuple[str, ...]:
    """Every full key, those of all cells and regularizers included, in the order of definition."""
    full_keys: list[str] = []
    for f in fields(TrialConfig):
        if f in PLAIN:
            full_keys.append(f.name)
        elif f.name in CORE:
            full_keys += [f"{f.name}.{g.name}" for g in fields(CORE[f.name])]
        else:
            full_keys += [key for key in part_keys.every() if key.startswith(f"{f.name}.")]
    return tuple(full_keys)


@registry.cached
def lane_keys() -> frozenset[str]:
    """The full keys in which the lanes of one pack may differ."""
    return frozenset(key for key in keys() if _of_lanes(key))


def _of_lanes(key: str) -> bool:
    name = key.rpartition(".")[2]
    return all(
        f.metadata.get("lane") for owner in owners_of(key) for f in fields(owner) if f.name == name
    )


def owners_of(key: str) -> list[type[Any]]:
    """The dataclasses that declare a key. For a setting of cells, these are all cells that have it.
    Raises what `locate` raises."""
    section, name = locate(key)
    if section in CORE:
        return [CORE[section]]
    return list(part_keys.owners(dotted(section, name)))


def type_of(key: str) -> Any:
    """The type of a key: `int`, `float`, `bool`, `str`, or a `Literal` of words; `object` where
    cells disagree. Raises what `locate` raises."""
    _, name = locate(key)
    owners: list[type] = owners_of(key)
    types = {hints(owner)[name] for owner in owners}
    if len(types) == 1:
        return types.pop()
    if types == {int, float}:
        return float
    return object
