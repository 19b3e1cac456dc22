"""Static identity connections: zoneout whose masks are drawn once for all of training (spec 8.2,
Figure 7).

One mask for each (step, unit), the same for all examples and all updates. Steps count from the
start of a chunk, so the state must not be carried between chunks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import LANE, Mask, Regularizer, Surroundings, changed, require
from zoneout_core.regularizers.zoneout import STREAMS


@dataclass(frozen=True, kw_only=True)
class StaticMasks(Regularizer):
    """Changes the masks of zoneout."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"static_masks.static_masks": "same", "zoneout.z_cells": 0.5, "zoneout.z_states": 0.2},
        {"static_masks.static_masks": "code", "zoneout.z_cells": 0.5, "zoneout.z_states": 0.2},
        {
            "static_masks.static_masks": "expectation",
            "zoneout.z_cells": 0.5,
            "zoneout.z_states": 0.2,
        },
    )

    static_masks: Literal["off", "same", "code", "expectation"] = field(
        default="off", metadata=LANE
    )
    """Whether zoneout's masks are drawn once for all of training, and what evaluations use.
    `off`: new masks at every update; `same`: the masks of training; `code`: other masks, drawn
    once, as the original code does; `expectation`: their probabilities (spec section 8.2)."""

    @property
    def active(self) -> bool:
        return self.static_masks != "off"

    def check(self, trial: Surroundings) -> None:
        require(
            trial.carry == "none",
            "carry",
            trial.carry,
            "none with static masks, which belong to a chunk's steps",
        )

    def transform(self, program: tuple[Mask, ...]) -> tuple[Mask, ...]:
        if not self.active:
            return program
        static = changed(
            program,
            STREAMS,
            shared=frozenset({"update", "batch"}),
            static=self.static_masks == "same",
        )
        if self.static_masks == "code":
            return changed(static, STREAMS, expected=None)
        return static


PART = StaticMasks
