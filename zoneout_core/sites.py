"""The masks of one layer as tensors, by the place in a step where they enter (`zoneout_core.regularizers.Site`).

For one lane a tensor broadcasts to [T, B, U] (U units of what it scales), for K lanes to [K, T, B, U]; a mask for each
gate has one more axis before the units. None = no mask there. Imports no torch: tensors are only indexed here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    """Gains multiply (1 = let through), `keep_*` preserve (1 = keep the old value; numbers between mix)."""

    inputs: Tensor | None = None
    recurrent: Tensor | None = None
    update: Tensor | None = None
    cells: Tensor | None = None
    states: Tensor | None = None
    gate: Tensor | None = None
    keep_cells: Tensor | None = None
    keep_states: Tensor | None = None
    gate_form: str = ""
    """`intent`, `intent_raw`, `literal` or `code` (spec section 9.5), where there is a gate mask."""

    def at(self, index: int) -> Sites:
        """The masks of step `index` of one lane (or of lane `index`); an axis of size 1 serves every index."""

        def pick(mask: Tensor | None) -> Tensor | None:
            return None if mask is None else mask[index if mask.shape[0] > 1 else 0]

        return Sites(**{name: pick(getattr(self, name)) for name in NAMES}, gate_form=self.gate_form)

    def present(self) -> dict[str, Tensor]:
        """The masks that are there, by site."""
        return {name: mask for name in NAMES if (mask := getattr(self, name)) is not None}


NAMES = tuple(f.name for f in fields(Sites) if f.name != "gate_form")
NONE = Sites()
