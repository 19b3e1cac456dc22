"""Recurrent dropout of Semeniuta and others: what is about to be written is dropped, never the
memory (spec 9.3).

    LSTM   c~ = f c' + m i g              GRU   h~ = u h' + (1 - u) m n

The original code does not scale in training and multiplies by 1 - p in an evaluation; `inverted`
divides by it in training. Not defined for the plain recurrent network, which has no such term.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import (
    LANE,
    Mask,
    Regularizer,
    Surroundings,
    dropout,
    require,
    require_dropped,
)
from zoneout_core.regularizers.zoneout import CELLS

ZONED = {
    "recurrent_dropout.p_recurrent": 0.15,
    "recurrent_dropout.recurrent_mask": "zoneout",
    "zoneout.z_cells": 0.15,
    "zoneout.z_states": 0.15,
    "zoneout.zoneout_mask": "shared",
}
"""Batch norm with zoneout as in pMNIST's code: one mask m = 1 - d for all three."""


@dataclass(frozen=True, kw_only=True)
class RecurrentDropout(Regularizer):
    """Drops updates by its own mask, or by that of zoneout (pMNIST's code with batch norm, spec
    section 5)."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"recurrent_dropout.p_recurrent": 0.4},
        {"recurrent_dropout.p_recurrent": 0.4, "recurrent_dropout.recurrent_scale": "inverted"},
        {"recurrent_dropout.p_recurrent": 0.4, "cell": "gru"},
        ZONED,
        ZONED | {"cell": "bn_lstm"},
    )

    p_recurrent: float = field(default=0.0, metadata=LANE)
    """Probability that recurrent dropout drops a unit's update at a step; memory itself is never
    dropped. The paper takes 0.25 for characters and 0.5 for MNIST and text8 (spec section 9.3)."""
    recurrent_scale: Literal["evaluation", "inverted"] = field(default="evaluation", metadata=LANE)
    """How the average is kept. `evaluation`: evaluations multiply the update by 1 - p, as the
    original code does; `inverted`: training divides it by 1 - p (spec section 9.3)."""
    recurrent_mask: Literal["own", "zoneout"] = field(default="own", metadata=LANE)
    """Which mask recurrent dropout draws. `own`: its own; `zoneout`: zoneout's, so that an update
    is dropped exactly where the cell keeps its value, which needs p_recurrent equal to z_cells
    (spec section 5)."""

    def __post_init__(self) -> None:
        inverted = self.recurrent_scale == "inverted"
        require_dropped(
            "regularizer.recurrent_dropout.p_recurrent", self.p_recurrent, inverted=inverted
        )

    @property
    def active(self) -> bool:
        return self.p_recurrent > 0

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        if self.recurrent_mask == "zoneout":
            z, spread = _zoneout_of_cells(trial.program)
            must = (
                f"equal to regularizer.zoneout.z_cells ({z}) where recurrent dropout takes"
                " zoneout's mask"
            )
            require(
                z == self.p_recurrent,
                "regularizer.recurrent_dropout.p_recurrent",
                self.p_recurrent,
                must,
            )
            require(
                spread == 0,
                "regularizer.zoneout.z_spread",
                spread,
                "0 where recurrent dropout takes zoneout's mask",
            )

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        takes_zoneout_mask = self.recurrent_mask == "zoneout"
        if takes_zoneout_mask:
            stream = CELLS
        else:
            stream = "masks_recurrent_dropout_update"
        mask = dropout(
            "update",
            "regularizer.recurrent_dropout.p_recurrent",
            self.p_recurrent,
            inverted=self.recurrent_scale == "inverted",
            stream=stream,
            flipped=takes_zoneout_mask,
        )
        return (mask,)


def _zoneout_of_cells(program: tuple[Mask, ...]) -> tuple[float, float]:
    """The probability of zoneout's mask on cells and the spread of its units' rates; 0 without
    one."""
    for mask in program:
        if (mask.site, mask.stream) == ("keep_cells", CELLS):
            return mask.probability, mask.spread
    return 0.0, 0.0


PART = RecurrentDropout
