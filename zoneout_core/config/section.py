"""The section `regularizer` of a configuration: a part for each regularizer, by its file's name.
Imports no torch."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Self, TypeVar

from zoneout_core.config import parts, registry
from zoneout_core.config.contracts import Penalty, Regularizer
from zoneout_core.config.fields import replaced
from zoneout_core.masking.program import Mask

PartType = TypeVar("PartType", bound=Regularizer)


class RegularizerConfig:
    """All regularizers of a trial, frozen: `config.regularizer.zoneout.z_cells`."""

    parts: tuple[Regularizer, ...]
    """In the order of their names."""

    def __init__(self, *given: Regularizer) -> None:
        """Every regularizer as its file declares it, but for those that are given."""
        by_kind = {type(part): part for part in given}
        kinds = parts.regularizers().values()
        assert set(by_kind) <= set(kinds), "the files of regularizers export their classes"
        self._set(by_kind.get(kind, parts.default(kind)) for kind in kinds)

    def _set(self, own: Iterator[Regularizer] | list[Regularizer]) -> None:
        self.__dict__["parts"] = tuple(own)

    @staticmethod
    @registry.cached
    def default() -> "RegularizerConfig":
        """The section of which nothing was set."""
        return RegularizerConfig()

    def items(self) -> Iterator[tuple[str, Regularizer]]:
        """(name, part) of each."""
        return zip(parts.regularizers(), self.parts, strict=True)

    def written(self) -> Iterator[tuple[str, Regularizer]]:
        """What stands in files and hashes: the project's regularizers, and plug-ins that are set.

        So a trial is the same whatever other plug-ins there are.
        """
        plugged = registry.plugged(parts.REGULARIZERS)
        for name, part in self.items():
            if name not in plugged or part != parts.default(type(part)):
                yield name, part

    def part(self, kind: type[PartType]) -> PartType:
        """The part of this class."""
        (part,) = [part for part in self.parts if type(part) is kind]
        return part

    def with_values(self, values: Mapping[str, Mapping[str, Any]]) -> Self:
        """A copy with these fields replaced, by part; values are read as the types of the
        fields."""
        copy = object.__new__(type(self))
        own = []
        for name, part in self.items():
            own.append(replaced(part, values.get(name, {}), f"regularizer.{name}"))
        copy._set(own)
        return copy

    @cached_property
    def _active(self) -> list[Regularizer]:
        return [part for part in self.parts if part.active]

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

    def __getitem__(self, name: str) -> Any:
        """The part of this name, also where it is the name of a method here."""
        return self.parts[list(parts.regularizers()).index(name)]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in parts.regularizers():
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RegularizerConfig) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        changed = [part for part in self.parts if part != parts.default(type(part))]
        return f"{type(self).__name__}({', '.join(map(repr, changed))})"
