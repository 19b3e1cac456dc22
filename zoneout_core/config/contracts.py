"""What a configuration requires of the parts that plug into it: a cell, and every regularizer.
Imports no torch.

A part is a frozen dataclass of its own settings. The packages above implement these contracts:
`zoneout_core.cells` and `zoneout_core.regularizers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from zoneout_core.config.fields import require
from zoneout_core.config.model import ModelConfig
from zoneout_core.masking.program import Mask, Site

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a part may know of the rest of its trial."""

    task: str
    model: ModelConfig
    sites: frozenset[str]
    """Where the cell has a place for a mask."""
    states: tuple[str, ...]
    """What the cell carries from step to step, by name: `h`, `c`."""
    program: tuple[Mask, ...]
    """The masks of all regularizers together."""
    batch_size: int
    sequence_length: int
    carry: str

    def require_site(self, site: Site, key: str, value: object, must: str) -> None:
        """Raise `ConfigError` saying what setting `key` must be, unless the cell has this site."""
        cell = self.model.cell
        must = f"{must} with model.cell={cell}, which has no place for a mask at {site}"
        require(site in self.sites, key, value, must)


# Parts have no slots: `slots=True` would replace the class by a second one that `super()` does not
# know, and `super().check(trial)` would raise a TypeError.


@dataclass(frozen=True, kw_only=True)
class CellPart(ABC):
    """Base of `zoneout_core.cells.Cell`: what a configuration must know about a cell."""

    SITES: ClassVar[frozenset[str]]
    """Where it has a place for a mask."""

    @abstractmethod
    def check(self, trial: Surroundings) -> None:
        """Raises `ConfigError` when it cannot work with the rest of the trial."""

    @abstractmethod
    def sizes(self, model: ModelConfig) -> dict[str, int]:
        """Width of every state by name; the first is what the next layer reads."""


@dataclass(frozen=True, kw_only=True)
class Regularizer(ABC):
    """Base of all regularizers: a frozen dataclass whose fields all have a default that means
    "off"."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]]
    """Configuration values, by key, that switch it on with a strong effect. The conformance tests
    use them."""

    @property
    @abstractmethod
    def active(self) -> bool:
        """Whether it does anything."""

    def check(self, trial: Surroundings) -> None:
        """Raises `ConfigError` when it cannot work with the rest of the trial; called when it is
        active."""
        for mask in self.program():
            if mask.site not in ("embedding", "outputs"):
                trial.require_site(mask.site, mask.key, mask.strength, "0")

    def program(self) -> tuple[Mask, ...]:
        """Its masks; none when it is off."""
        return ()

    def transform(self, program: tuple[Mask, ...]) -> tuple[Mask, ...]:
        """The masks of all regularizers, as this one changes them: static and Gaussian masks change
        those of zoneout. Called when it is active."""
        return program

    @property
    def weight_noise(self) -> float:
        """Standard deviation of the noise on weight matrices; 0 = none."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Penalty(Regularizer):
    """A regularizer that adds to the loss."""

    @property
    @abstractmethod
    def penalised(self) -> str:
        """The name, in `Cell.sizes`, of the state whose trajectory `penalty` takes."""

    @abstractmethod
    def penalty(self, trajectory_TBH: Tensor) -> Tensor:
        """What it adds to the loss, [B] per example, from the trajectory of a state of the last
        layer."""
