"""Input dropout: at a step, all that the first layer reads is set to zero (spec section 9.14).

In an evaluation the inputs are multiplied by 1 - p. The original code names this regularizer but
does not implement it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from zoneout_core.regularizers import LANE, Axis, Mask, Regularizer, dropout, require_probability


@dataclass(frozen=True, kw_only=True)
class InputDropout(Regularizer):
    """One draw per example and step, for the whole input vector."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"input_dropout.p_input_steps": 0.4},
        {"input_dropout.p_input_steps": 0.4, "embedding_size": 5},
    )

    p_input_steps: float = field(default=0.0, metadata=LANE)
    """Probability that a sequence's whole input is zero at a step (spec section 9.14)."""

    def __post_init__(self) -> None:
        require_probability("regularizer.input_dropout.p_input_steps", self.p_input_steps)

    @property
    def active(self) -> bool:
        return self.p_input_steps > 0

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        shared: frozenset[Axis] = frozenset({"unit"})
        stream = "masks_input_dropout_inputs"
        return (
            dropout(
                "inputs",
                "regularizer.input_dropout.p_input_steps",
                self.p_input_steps,
                stream=stream,
                shared=shared,
                layers="first",
            ),
        )


PART = InputDropout
