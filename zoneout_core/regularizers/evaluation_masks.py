"""What replaces masks in an evaluation: their expectations (the paper), or masks that are drawn
there too.

The original code of the sequence-to-sequence toy, and probably that of the word models, sampled
masks in evaluations (spec section 12, row 28, and section 3). Here they have their own streams, the
same in every evaluation.

What replaces a single mask is its `Mask.expected` (`zoneout_core.masking.program`), of which
`zoneout_core.masking.drawing` makes a tensor. Monte Carlo passes: `variational.mc_passes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import LANE, Mask, Regularizer, sampled


@dataclass(frozen=True, kw_only=True)
class EvaluationMasks(Regularizer):
    """Changes the masks of all other regularizers in evaluations."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {
            "evaluation_masks.evaluation_masks": "sampled",
            "zoneout.z_cells": 0.5,
            "zoneout.z_states": 0.2,
        },
        {"evaluation_masks.evaluation_masks": "sampled", "recurrent_dropout.p_recurrent": 0.4},
    )

    evaluation_masks: Literal["expected", "sampled"] = field(default="expected", metadata=LANE)
    """What replaces the masks of all regularizers in an evaluation. `expected`: their
    expectation, as in the paper; `sampled`: drawn masks, as some of the original code does, so that
    scores depend on chance (spec sections 3 and 6)."""

    @property
    def active(self) -> bool:
        return self.evaluation_masks == "sampled"

    def transform(self, program: tuple[Mask, ...]) -> tuple[Mask, ...]:
        if self.active:
            return sampled(program)
        return program


PART = EvaluationMasks
