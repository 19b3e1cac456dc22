"""Stochastic depth in time: a whole layer skips a step, units and states together (spec section
9.2).

This is zoneout with one draw for all units of a layer: with probability z the layer keeps its old
cells and states. Evaluations replace the draw by z. The original code names this regularizer but
does not implement it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import (
    LANE,
    Axis,
    Mask,
    Regularizer,
    Site,
    Surroundings,
    require_probability,
)


@dataclass(frozen=True, kw_only=True)
class StochasticDepth(Regularizer):
    """One draw per step, example and layer."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"stochastic_depth.z_depth": 0.4},
        {"stochastic_depth.z_depth": 0.4, "stochastic_depth.depth_draw": "batch"},
        {"stochastic_depth.z_depth": 0.4, "stochastic_depth.depth_mask": "separate"},
        {"stochastic_depth.z_depth": 0.4, "stochastic_depth.depth_of": "states", "cell": "gru"},
    )

    z_depth: float = field(default=0.0, metadata=LANE)
    """Probability that a whole layer keeps its old cells and states at a step. The paper takes 0.05
    (spec section 9.2)."""
    depth_draw: Literal["example", "batch"] = field(default="example", metadata=LANE)
    """What shares one draw of stochastic depth. `example`: all units of a layer; `batch`: all
    sequences of the batch, too (spec section 9.2)."""
    depth_mask: Literal["shared", "separate"] = field(default="shared", metadata=LANE)
    """Whether the cells and the states of a layer skip a step together (`shared`) or by draws of
    their own (`separate`); spec section 9.2."""
    depth_of: Literal["both", "cells", "states"] = field(default="both", metadata=LANE)
    """What keeps its old value: cells, states, or both. The GRU and the plain RNN have no cells and
    need `states` (spec section 9.2)."""

    def __post_init__(self) -> None:
        require_probability("regularizer.stochastic_depth.z_depth", self.z_depth)

    @property
    def active(self) -> bool:
        return self.z_depth > 0

    def check(self, trial: Surroundings) -> None:
        if self.depth_of != "states":
            key = "regularizer.stochastic_depth.depth_of"
            trial.require_site("keep_cells", key, self.depth_of, "states")
        super().check(trial)

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        shared: frozenset[Axis] = frozenset({"unit"})
        if self.depth_draw == "batch":
            shared |= {"batch"}
        places: dict[str, tuple[Site, ...]] = {
            "both": ("keep_cells", "keep_states"),
            "cells": ("keep_cells",),
            "states": ("keep_states",),
        }
        z = self.z_depth
        return tuple(
            Mask(
                site=site,
                key="regularizer.stochastic_depth.z_depth",
                strength=z,
                probability=z,
                expected=z,
                shared=shared,
                stream=self._stream(site),
            )
            for site in places[self.depth_of]
        )

    def _stream(self, site: Site) -> str:
        if self.depth_mask == "shared":
            return "masks_depth"
        return f"masks_stochastic_depth_{site}"


PART = StochasticDepth
