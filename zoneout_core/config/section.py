"""The section `regularizer` of a configuration: a part for each regularizer, by its file's name.
Imports no torch."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Self, TypeVar

from zoneout_core.config import parts, registry
from zoneout_core.config.contracts import Penalty, Regularizer
from zoneout_core.config.fields import replaced
from zoneout_core.masking.program import Mask

RegularizerType = TypeVar("RegularizerType", bound=Regularizer)


class RegularizerConfig:
    """All regularizers of a trial, frozen: `config.regularizer.zoneout.z_cells`."""

    _parts: dict[str, Regularizer]
    """By name, in the order of the names."""

    def __init__(self, *regularizers: Regularizer) -> None:
        """These regularizers, and all others at their defaults."""
        by_kind = {type(part): part for part in regularizers}
        kinds = parts.regularizers()
        assert set(by_kind) <= set(kinds.values()), "the files of regularizers export their classes"
        parts_by_name = {}
        for name, kind in kinds.items():
            parts_by_name[name] = by_kind.get(kind, parts.default(kind))
        self.__dict__["_parts"] = parts_by_name

    @staticmethod
    @registry.cached
    def default() -> "RegularizerConfig":
        """The section with all regularizers at their defaults."""
        return RegularizerConfig()

    def items(self) -> Iterable[tuple[str, Regularizer]]:
        """(name, part) of each."""
        return self._parts.items()

    def written(self) -> Iterator[tuple[str, Regularizer]]:
        """What enters files and hashes: the project's regularizers, and plug-ins that are set.

        So a trial does not depend on plug-ins that it does not use.
        """
        plugged = registry.plugged(parts.REGULARIZERS)
        for name, part in self.items():
            if name not in plugged or part != parts.default(type(part)):
                yield name, part

    def part(self, kind: type[RegularizerType]) -> RegularizerType:
        """The part of this class."""
        (part,) = [part for part in self._parts.values() if type(part) is kind]
        return part

    def with_values(self, values: Mapping[str, Mapping[str, object]]) -> Self:
        """A copy with these fields replaced. `values`: fields by the name of the part, each read as
        the type of its field."""
        parts_by_name = dict(self._parts)
        for name, fields in values.items():
            parts_by_name[name] = replaced(self[name], fields, f"regularizer.{name}")
        copy = object.__new__(type(self))
        copy.__dict__["_parts"] = dict(sorted(parts_by_name.items()))  # a plug-in may be new
        return copy

    @cached_property
    def _active(self) -> list[Regularizer]:
        return [part for part in self._parts.values() if part.active]

    @cached_property
    def _program(self) -> tuple[Mask, ...]:
        masks = tuple(mask for part in self._active for mask in part.program())
        for part in self._active:
            masks = part.transform(masks)
        return masks

    def active(self) -> list[Regularizer]:
        """The regularizers that do something, in the order of their names."""
        return self._active

    def program(self) -> tuple[Mask, ...]:
        """The masks of all of them together, each with its stream."""
        return self._program

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of the noise on weight matrices; 0 = none."""
        return max((part.weight_noise for part in self.active()), default=0.0)

    def penalties(self) -> list[Penalty]:
        """Those that add to the loss."""
        return [part for part in self.active() if isinstance(part, Penalty)]

    def _changed(self) -> dict[str, Regularizer]:
        """The parts that are not at their defaults. Only they count in a comparison, since plug-ins
        may add others."""
        return {name: part for name, part in self.items() if part != parts.default(type(part))}

    def __getitem__(self, name: str) -> Any:
        """The part of this name, even if it is also the name of a method here."""
        return self._parts.get(name) or parts.default(parts.regularizer(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._parts:
            raise AttributeError(name)
        return self._parts[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RegularizerConfig) and self._changed() == other._changed()

    def __hash__(self) -> int:
        return hash(tuple(self._changed().items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._changed().values()))})"
