"""Parts: the classes that the files of a package plug into a configuration. Imports no torch.

A file is imported when its part is asked for. An error in a file is raised only for those who need
its part.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, cast, get_args, get_origin

from zoneout_core.config import registry
from zoneout_core.config.contracts import CellPart, Regularizer
from zoneout_core.config.fields import coerce, hints
from zoneout_core.config.model import CELLS
from zoneout_core.errors import PluginError, ZoneoutError

REGULARIZERS = "zoneout_core.regularizers"
"""The package whose files are the regularizers."""

Part = CellPart | Regularizer
_BASES: Mapping[str, type] = {CELLS: CellPart, REGULARIZERS: Regularizer}
_WORDS = {CELLS: "cell", REGULARIZERS: "regularizer"}
_PLAIN = (bool, int, float, str)
"""Types of fields, beside a `Literal` of words."""


def cell(name: str) -> type[CellPart]:
    """The class of a cell. Raises `UnknownName`, and `PluginError` when its file is broken."""
    kind: type[CellPart] = _sound(CELLS, name)
    return kind


@registry.cached
def cells() -> dict[str, type[CellPart]]:
    """The class of every cell whose file is sound, by name."""
    return _all_sound(CELLS)


@registry.cached
def regularizers() -> dict[str, type[Regularizer]]:
    """The class of every regularizer whose file is sound, by name. See `require_regularizers`."""
    return _all_sound(REGULARIZERS)


def regularizer(name: str) -> type[Regularizer]:
    """The class of a regularizer. Raises `UnknownName`, and `PluginError` when its file is
    broken."""
    kind: type[Regularizer] = _sound(REGULARIZERS, name)
    return kind


def require_regularizers() -> None:
    """Raise `PluginError` when the file of a regularizer is broken. Training needs all of them,
    since a missing setting cannot be distinguished from one that is off."""
    for error in broken_regularizers():
        raise error


def broken_regularizers() -> list[PluginError]:
    """An error for each broken file of a regularizer."""
    loaded = [_loaded(REGULARIZERS, name) for name in registry.names(REGULARIZERS)]
    return [PluginError(str(error)) for error in loaded if isinstance(error, PluginError)]


@registry.cached
def default(kind: type[Part]) -> Any:
    """The part with all its settings at their defaults."""
    return kind()


def declared(kind: type[Part]) -> dict[str, Field[Any]]:
    """The settings of a part, by name."""
    return {f.name: f for f in fields(kind)}


def _all_sound(package: str) -> dict[str, Any]:
    loaded = {name: _loaded(package, name) for name in registry.names(package)}
    return {name: kind for name, kind in loaded.items() if isinstance(kind, type)}


def _sound(package: str, name: str) -> Any:
    loaded = _loaded(package, name)
    if isinstance(loaded, PluginError):
        raise PluginError(str(loaded))
    return loaded


@registry.cached
def _loaded(package: str, name: str) -> type | PluginError:
    """The class that a file exports, or what is wrong with the file."""
    word = _WORDS[package]
    try:
        module = registry.load(package, name, word)
    except PluginError as error:
        return error
    problem = _problem(getattr(module, "PART", None), _BASES[package], word)
    if problem:
        return PluginError(f"{getattr(module, '__file__', name)} is no {word}: {problem}")
    kind: type = module.PART
    return kind


# What a part must be


def _problem(part: object, base: type, word: str) -> str:
    """The rule that `part` breaks, and what to do; empty when it breaks none."""
    if part is None:
        return (
            "it must define PART, the class of its settings, but has none. Write PART = YourClass"
            " at its end, or begin its name with an underscore if it is a helper."
        )
    if not isinstance(part, type) or not issubclass(part, base):
        return (
            f"PART must be a class derived from {_home(base)}, but is {part!r}. Derive it from"
            " there."
        )
    # A dataclass keeps the arguments of its decorator, but the standard library has no public way
    # to read them.
    decorator_arguments = vars(part).get("__dataclass_params__")
    if decorator_arguments is None or not decorator_arguments.frozen:
        return (
            f"PART must be a frozen dataclass, but {part.__name__} is not. Write"
            " @dataclass(frozen=True, kw_only=True) above it."
        )
    missing = sorted(getattr(part, "__abstractmethods__", ()))
    if missing:
        return f"{part.__name__} must define {', '.join(missing)}, but does not. Write it."
    for name in vars(part):
        problem = _untyped(part, name)
        if problem:
            return problem
    settings: tuple[Field[Any], ...] = fields(cast("type[Part]", part))
    for f in settings:
        problem = _unfit(part, f, base)
        if problem:
            return problem
    return ""


def _home(base: type) -> str:
    """Where users import a base from."""
    if base is CellPart:
        return "zoneout_core.cells.Cell"
    return "zoneout_core.regularizers.Regularizer"


def _untyped(part: type, name: str) -> str:
    """What is wrong with a class variable in lower case, which is a setting without a type; else
    empty."""
    value = vars(part)[name]
    typed = name in vars(part).get("__annotations__", {})
    constant = not name.islower() or name.startswith("_")
    method = hasattr(type(value), "__get__")
    if typed or constant or method:
        return ""
    return (
        f"every setting needs a type, but {name} has none. Write {name}:"
        f" {type(value).__name__} = {value!r}, or spell a constant in capital letters."
    )


def _unfit(part: type, f: Field[Any], base: type) -> str:
    """What is wrong with a field; else empty."""
    if f.name.startswith("_") or hasattr(base, f.name):
        return (
            f"{f.name} is not allowed as the name of a setting, since it is private or a name of"
            f" {_home(base)}. Choose another."
        )
    if f.default is MISSING:
        return f"every setting needs a default, but {f.name} has none. Write one after its type."
    try:
        hint = hints(part)[f.name]
    except Exception as error:
        return f"the types of its settings cannot be read: {error}. Import what they name."
    words = get_args(hint)
    literal = get_origin(hint) is Literal and all(isinstance(word, str) for word in words)
    if not literal and hint not in _PLAIN:
        return (
            "a setting is bool, int, float, str or a Literal of words, but"
            f" {f.name} is {getattr(hint, '__name__', hint)}. Choose one of these."
        )
    try:
        coerce(part, f.name, f.default)
    except ZoneoutError:
        return f"the default of {f.name}, {f.default!r}, is not of its type. Mend it."
    return ""
