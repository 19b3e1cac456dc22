"""The masks of one layer as tensors, by site: the place in a step where they act
(`zoneout_core.masking.program.Site`).

For one lane a tensor broadcasts to [T, B, U] (U units of what it scales), for K lanes to [K, T, B,
U]; masks for each gate have one more axis before the units: [T, B, gates, U]. None = no mask there.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    """Gains multiply (1 = let through); `keep_*` preserve (1 = keep the old value; numbers between
    0 and 1 mix)."""

    inputs: Tensor | None = None
    """Gain on the inputs of the layer."""
    recurrent: Tensor | None = None
    """Gain on h_{t-1} where the products read it."""
    update: Tensor | None = None
    """Gain on what is about to be written: i * g of an LSTM, n of a GRU."""
    cells: Tensor | None = None
    """Gain on the candidate cell c~, both where it is carried to the next step and where h reads
    it."""
    carried: Tensor | None = None
    """Gain on the candidate cell where it is carried to the next step, but not where h reads it
    (spec 9.4: cells and states dropped)."""
    states: Tensor | None = None
    """Gain on the candidate state h~."""
    gate: Tensor | None = None
    """The output gate's mask, 1 = updated (spec 9.5)."""
    uniform: Tensor | None = None
    """Numbers from 0 to 1 that a cell compares with its probabilities (spec 9.15); None = their
    expectation."""
    keep_cells: Tensor | None = None
    """1 = the cell keeps its old value (zoneout)."""
    keep_states: Tensor | None = None
    """1 = the state keeps its old value (zoneout)."""
    gate_form: str = ""
    """`intent`, `intent_raw`, `literal` or `code` (spec section 9.5); empty without a gate mask."""

    def at(self, index: int) -> Sites:
        """The masks of lane `index` of K, or of step `index` of one lane; an axis of size 1 serves
        every index."""
        return self.map(lambda mask: mask[index if len(mask) > 1 else 0])

    def span(self, start: int, stop: int) -> Sites:
        """The masks of one lane's steps from `start` to before `stop`."""
        return self.map(lambda mask: mask[start:stop] if len(mask) > 1 else mask)

    def steps(self, count: int, dtype: torch.dtype) -> list[Sites]:
        """The masks of one lane's T = `count` steps, each [B, U], as numbers of `dtype`."""
        masks = {name: mask.to(dtype) for name, mask in self.present().items()}
        assert all(len(mask) in (1, count) for mask in masks.values()), {
            n: m.shape for n, m in masks.items()
        }
        constant = {name: mask[0] for name, mask in masks.items() if len(mask) == 1}
        varying = {name: mask.unbind(0) for name, mask in masks.items() if len(mask) > 1}
        if not varying:
            return [self._with(constant)] * count
        return [
            self._with(constant | {name: steps[t] for name, steps in varying.items()})
            for t in range(count)
        ]

    def present(self) -> dict[str, Tensor]:
        """The masks that are there, by site."""
        return {name: mask for name in NAMES if (mask := getattr(self, name)) is not None}

    def map(self, change: Callable[[Tensor], Tensor]) -> Sites:
        """The sites with every mask changed."""
        return self._with({name: change(mask) for name, mask in self.present().items()})

    def _with(self, masks: dict[str, Any]) -> Sites:
        return Sites(**masks, gate_form=self.gate_form)


NAMES = tuple(f.name for f in fields(Sites) if f.name != "gate_form")
NONE = Sites()
