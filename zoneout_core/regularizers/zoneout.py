"""Zoneout: at every step each unit keeps its old value with probability z (spec section 9.1; the paper, section 3).

    c_t = d_c c_{t-1} + (1 - d_c) c~        h_t = d_h h_{t-1} + (1 - d_h) o tanh(c~)

In an evaluation every mask d is replaced by its probability z; nothing is rescaled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from zoneout_core.regularizers import LANE, Mask, Regularizer, require, require_probability

if TYPE_CHECKING:
    from zoneout_core.config import TrialConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Zoneout(Regularizer):
    """Cells and states, with masks of their own or one for both. A GRU or a plain RNN has states only."""

    z_cells: float = field(default=0.0, metadata=LANE)
    """Probability that a cell keeps its previous value at a step."""
    z_states: float = field(default=0.0, metadata=LANE)
    """Probability that a hidden state keeps its previous value at a step."""
    zoneout_mask: Literal["separate", "shared"] = field(default="separate", metadata=LANE)
    """`shared`: one mask for cells and states (d_c = d_h), which then need one probability."""
    z_spread: float = field(default=0.0, metadata=LANE)
    """Per-unit rates: those of a layer's units are spread evenly from z - spread to z + spread, within 0..1."""

    def __post_init__(self) -> None:
        for name in ("z_cells", "z_states", "z_spread"):
            require_probability(f"regularizer.{name}", getattr(self, name))
        shared = self.zoneout_mask == "shared"
        must = f"equal to regularizer.z_cells ({self.z_cells}) where they share a mask"
        require(not shared or self.z_cells == self.z_states, "regularizer.z_states", self.z_states, must)

    def check(self, config: TrialConfig) -> None:
        no_cells = config.model.cell in ("gru", "rnn")
        must = f"0 with model.cell={config.model.cell}, which has no cells: its zoneout is regularizer.z_states"
        require(not (no_cells and self.z_cells > 0), "regularizer.z_cells", self.z_cells, must)

    @property
    def active(self) -> bool:
        return max(self.z_cells, self.z_states, self.z_spread) > 0

    def program(self) -> tuple[Mask, ...]:
        streams = ("masks_cells", "masks_cells" if self.zoneout_mask == "shared" else "masks_states")
        sites = (("keep_cells", self.z_cells), ("keep_states", self.z_states))
        return tuple(
            Mask(site=site, one=z, expected=z, stream=stream, spread=self.z_spread)  # type: ignore[arg-type]
            for (site, z), stream in zip(sites, streams, strict=True)
            if z > 0 or self.z_spread > 0
        )


PART = Zoneout
