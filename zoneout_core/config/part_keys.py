"""Names of the settings of parts: full keys, and their short forms. Imports no torch.

A full key is `cell.FIELD` or `regularizer.PART.FIELD`. `FIELD` and `PART.FIELD` are short for it
where they stand for one key only.
"""

from zoneout_core.config import parts, registry
from zoneout_core.config.contracts import CellPart
from zoneout_core.errors import ConfigError, UnknownName


def full(name: str) -> str | None:
    """The key that `name` stands for; None when it stands for none.

    Raises `ConfigError`, listing the keys, when it is short for several.
    """
    keys = _full().get(name, [])
    if name in keys:
        return name
    if len(keys) > 1:
        raise ConfigError(
            f"{name} is the name of {len(keys)} settings: {listed(keys)}. Write one of these"
            " instead."
        )
    for key in keys:
        return key
    return None


def owners(key: str) -> list[type[parts.Part]]:
    """The parts that have the setting of a full key. Several cells may have the same setting."""
    section, _, name = key.rpartition(".")
    if section == "cell":
        cells = parts.cells()
        return [cells[cell] for cell in cells_with(name)]
    return [parts.regularizers()[section.partition(".")[2]]]


def cells_with(name: str) -> list[str]:
    """The cells that have a setting of this name."""
    return [cell for cell, kind in parts.cells().items() if name in parts.declared(kind)]


def every() -> list[str]:
    """All full keys, those of cells first."""
    return [name for name, keys in _full().items() if name in keys]


def short() -> list[str]:
    """All field names."""
    return [name for name in _full() if "." not in name]


@registry.cached
def _full() -> dict[str, list[str]]:
    """The full keys that each name stands for, in order."""
    keys_of: dict[str, dict[str, None]] = {}
    for kind in parts.cells().values():
        for name in parts.declared(kind):
            for short_name in (f"cell.{name}", name):
                keys_of.setdefault(short_name, {})[f"cell.{name}"] = None
    for part, regularizer in parts.regularizers().items():
        for name in parts.declared(regularizer):
            key = f"regularizer.{part}.{name}"
            for short_name in (key, f"{part}.{name}", name):
                keys_of.setdefault(short_name, {})[key] = None
    return {name: list(keys) for name, keys in keys_of.items()}


def require_of_cell(name: str, cell: str, kind: type[CellPart]) -> None:
    """Raise `ConfigError` unless cell `cell`, of class `kind`, has a setting `name`, and say which
    cells have it."""
    known = parts.declared(kind)
    if name in known:
        return
    others = cells_with(name)
    if others:
        raise ConfigError(
            f"cell.{name} is a setting of cell {listed(others)}, but model.cell is {cell}. Set"
            f" model.cell={others[0]} too, or leave cell.{name} out."
        )
    raise UnknownName(f"setting of cell {cell}", name, known)


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`"""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
