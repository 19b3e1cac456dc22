"""Zoneout: at every step each unit keeps its old value with probability z (spec section 9.1; the
paper, section 3).

    c = d_c c' + (1 - d_c) c~        h = d_h h' + (1 - d_h) o tanh(c~)

In an evaluation every mask d is replaced by its probability z; nothing is rescaled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import (
    LANE,
    Mask,
    Regularizer,
    Site,
    require,
    require_probability,
)

CELLS = "masks_cells"
"""The stream of the mask on cells, which recurrent dropout may share."""
STREAMS = (CELLS, "masks_states")
"""The streams of its masks. Static and Gaussian masks change all masks of these streams."""


@dataclass(frozen=True, kw_only=True)
class Zoneout(Regularizer):
    """Zoneout of cells and states, with separate masks or one for both. A GRU or a plain RNN has
    states only."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"zoneout.z_cells": 0.5, "zoneout.z_states": 0.2},
        {"zoneout.z_cells": 0.4, "zoneout.z_states": 0.4, "zoneout.zoneout_mask": "shared"},
        {"zoneout.z_states": 0.5, "zoneout.z_spread": 0.3, "cell": "gru"},
        {"zoneout.z_states": 0.5, "cell": "rnn"},
    )

    z_cells: float = field(default=0.0, metadata=LANE)
    """Probability that a memory cell keeps its old value at a step (z_c in the paper, its best 0.5
    for characters). 0 switches it off; 1 freezes the cells (spec section 9.1)."""
    z_states: float = field(default=0.0, metadata=LANE)
    """Probability that a hidden state keeps its old value at a step (z_h in the paper, its best
    0.05 for characters). 0 switches it off; 1 freezes the states (spec section 9.1)."""
    zoneout_mask: Literal["separate", "shared"] = field(default="separate", metadata=LANE)
    """Whether cells and states draw masks of their own or share one, as on MNIST. A shared mask
    needs z_cells equal to z_states (spec sections 5 and 9.1)."""
    z_spread: float = field(default=0.0, metadata=LANE)
    """Gives every unit its own probability: those of a layer are spread evenly from z - z_spread to
    z + z_spread, within 0 to 1. 0 gives all units the same (spec section 9.1)."""

    def __post_init__(self) -> None:
        for name in ("z_cells", "z_states", "z_spread"):
            require_probability(f"regularizer.zoneout.{name}", getattr(self, name))
        shared = self.zoneout_mask == "shared"
        must = f"equal to regularizer.zoneout.z_cells ({self.z_cells}) where they share a mask"
        require(
            not shared or self.z_cells == self.z_states,
            "regularizer.zoneout.z_states",
            self.z_states,
            must,
        )

    @property
    def active(self) -> bool:
        return max(self.z_cells, self.z_states) > 0

    def program(self) -> tuple[Mask, ...]:
        cells, states = STREAMS
        places: tuple[tuple[str, Site, str], ...] = (
            ("z_cells", "keep_cells", cells),
            ("z_states", "keep_states", cells if self.zoneout_mask == "shared" else states),
        )
        return tuple(
            Mask(
                site=site,
                key=f"regularizer.zoneout.{name}",
                strength=z,
                probability=z,
                expected=z,
                stream=stream,
                spread=self.z_spread,
            )
            for name, site, stream in places
            if (z := getattr(self, name)) > 0
        )


PART = Zoneout
