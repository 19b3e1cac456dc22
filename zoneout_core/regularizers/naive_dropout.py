"""Naive dropout of the recurrent connection: memory itself is set to zero (spec section 9.4; Figure
6).

    c = m_c (f c' + i g)       h = m_h o tanh(.)

Evaluations replace a mask by 1 - p. If only cells are dropped, the state is read from the dropped
cell; if states are dropped too, from the undropped cell, as in the original code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from zoneout_core.regularizers import LANE, Mask, Regularizer, Site, dropout, require_probability


@dataclass(frozen=True, kw_only=True)
class NaiveDropout(Regularizer):
    """Drops cells, states, or both, with separate masks."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"naive_dropout.p_cells": 0.4},
        {"naive_dropout.p_states": 0.4, "cell": "rnn"},
        {"naive_dropout.p_cells": 0.3, "naive_dropout.p_states": 0.2},
    )

    p_cells: float = field(default=0.0, metadata=LANE)
    """Probability that naive dropout sets a memory cell to zero at a step, so that it forgets. The
    paper takes 0.5 in Figure 6 (spec section 9.4)."""
    p_states: float = field(default=0.0, metadata=LANE)
    """Probability that naive dropout sets a hidden state to zero at a step, so that it forgets
    (spec section 9.4)."""

    def __post_init__(self) -> None:
        for name in ("p_cells", "p_states"):
            require_probability(f"regularizer.naive_dropout.{name}", getattr(self, name))

    @property
    def active(self) -> bool:
        return max(self.p_cells, self.p_states) > 0

    def program(self) -> tuple[Mask, ...]:
        cells_site: Site = "carried" if self.p_states > 0 else "cells"
        masks = []
        if self.p_cells > 0:
            key = "regularizer.naive_dropout.p_cells"
            masks.append(dropout(cells_site, key, self.p_cells, stream="masks_naive_cells"))
        if self.p_states > 0:
            key = "regularizer.naive_dropout.p_states"
            stream = "masks_naive_dropout_states"
            masks.append(dropout("states", key, self.p_states, stream=stream))
        return tuple(masks)


PART = NaiveDropout
