"""Gaussian masks: zoneout mixes old and new by real numbers d = z + sqrt(z (1 - z)) n, n ~ N(0, 1)
(spec 9.13).

Mean and variance are those of the 0/1 mask; nothing is clipped. Evaluations replace d by z.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from zoneout_core.regularizers import LANE, Mask, Regularizer, changed
from zoneout_core.regularizers.zoneout import STREAMS


@dataclass(frozen=True, kw_only=True)
class GaussianMasks(Regularizer):
    """Changes the masks of zoneout."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"gaussian_masks.gaussian_masks": True, "zoneout.z_cells": 0.5, "zoneout.z_states": 0.2},
        {
            "gaussian_masks.gaussian_masks": True,
            "zoneout.z_cells": 0.3,
            "zoneout.z_states": 0.3,
            "zoneout.zoneout_mask": "shared",
        },
    )

    gaussian_masks: bool = field(default=False, metadata=LANE)
    """Whether zoneout mixes old and new values by normal random numbers with the mean and variance
    of its 0/1 masks, instead of choosing one of the two (spec section 9.13)."""

    @property
    def active(self) -> bool:
        return self.gaussian_masks

    def transform(self, program: tuple[Mask, ...]) -> tuple[Mask, ...]:
        if self.active:
            return changed(program, STREAMS, kind="gaussian")
        return program


PART = GaussianMasks
