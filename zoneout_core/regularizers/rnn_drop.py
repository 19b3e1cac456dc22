"""rnnDrop of Moon and others: one mask on the cells for a whole sequence (spec section 9.8).

    c = m (f c' + i g)

m is drawn once per sequence. Training does not scale; an evaluation multiplies by 1 - p at every
step, so memory fades exponentially, which Semeniuta and others criticise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from zoneout_core.regularizers import LANE, Mask, Regularizer, dropout, require_probability


@dataclass(frozen=True, kw_only=True)
class RNNDrop(Regularizer):
    """Dropout of the candidate cell, also where the state reads it."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = ({"rnn_drop.p_rnn_drop": 0.4},)

    p_rnn_drop: float = field(default=0.0, metadata=LANE)
    """Probability that rnnDrop keeps a cell at zero for a whole sequence. Its authors take 0.25
    (spec section 9.8)."""

    def __post_init__(self) -> None:
        require_probability("regularizer.rnn_drop.p_rnn_drop", self.p_rnn_drop)

    @property
    def active(self) -> bool:
        return self.p_rnn_drop > 0

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        stream = "masks_rnn_drop_cells"
        return (
            dropout(
                "cells",
                "regularizer.rnn_drop.p_rnn_drop",
                self.p_rnn_drop,
                stream=stream,
                shared=frozenset({"time"}),
            ),
        )


PART = RNNDrop
