"""Dropout on non-recurrent connections: Zaremba's, inverted and drawn afresh at every step (spec
section 9.6).

Evaluations have no masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import LANE, Mask, Regularizer, Site, dropout, require_dropped

Layers = Literal["all", "first", "later"]


@dataclass(frozen=True, kw_only=True)
class NonRecurrentDropout(Regularizer):
    """Dropout at three places; Zaremba uses the same probability for all of them."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"non_recurrent_dropout.p_inputs": 0.5},
        {"non_recurrent_dropout.p_between": 0.5, "num_layers": 2},
        {"non_recurrent_dropout.p_inputs": 0.2, "non_recurrent_dropout.p_outputs": 0.4},
    )

    p_inputs: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a unit of the embedding at a step, before the first layer; without an
    embedding, of dropping the whole symbol. Zaremba takes 0.65 with 1500 units (spec section
    9.6)."""
    p_between: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a unit between two recurrent layers at a step. Zaremba takes 0.65
    with 1500 units (spec section 9.6)."""
    p_outputs: float = field(default=0.0, metadata=LANE)
    """Probability of dropping a unit of the last layer's output at a step, before the softmax.
    Zaremba takes 0.65 with 1500 units (spec section 9.6)."""

    def __post_init__(self) -> None:
        for name in ("p_inputs", "p_between", "p_outputs"):
            require_dropped(
                f"regularizer.non_recurrent_dropout.{name}", getattr(self, name), inverted=True
            )

    @property
    def active(self) -> bool:
        return max(self.p_inputs, self.p_between, self.p_outputs) > 0

    def program(self) -> tuple[Mask, ...]:
        places: tuple[tuple[str, Site, Layers], ...] = (
            ("p_inputs", "inputs", "first"),
            ("p_between", "inputs", "later"),
            ("p_outputs", "outputs", "all"),
        )
        return tuple(
            dropout(
                site,
                f"regularizer.non_recurrent_dropout.{name}",
                p,
                stream=f"masks_non_recurrent_dropout_{site}",
                inverted=True,
                layers=layers,
            )
            for name, site, layers in places
            if (p := getattr(self, name)) > 0
        )


PART = NonRecurrentDropout
