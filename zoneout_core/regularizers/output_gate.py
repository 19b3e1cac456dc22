"""The paper's variant of recurrent dropout that also zones out the output gate (spec section 9.5).

With m = 1 where the cell was updated, c = f c' + m i g in every form, and

    intent       h = o^ tanh(c), o^ = m o + (1 - m) o^'   hides a cell not updated (default)
    intent_raw   h = o^ tanh(c), o^ = m o + (1 - m) o'      the raw gate of the previous step
    literal      h = o^ tanh(c), o^ = (1 - m) o + m o'      as printed, against its own motivation
    code         h = m o tanh(c) + (1 - m) f h'        what the original code does, after zoneout

Evaluations replace m by 1 - p in both places.
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
    require_probability,
)


@dataclass(frozen=True, kw_only=True)
class OutputGate(Regularizer):
    """One mask for the update and for the gate."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"output_gate.p_gate": 0.4},
        {"output_gate.p_gate": 0.4, "output_gate.gate_form": "intent_raw"},
        {"output_gate.p_gate": 0.4, "output_gate.gate_form": "literal"},
        {"output_gate.p_gate": 0.4, "output_gate.gate_form": "code"},
    )

    p_gate: float = field(default=0.0, metadata=LANE)
    """Probability that a unit's update is dropped at a step and its output gate keeps its old value
    (spec section 9.5)."""
    gate_form: Literal["intent", "intent_raw", "literal", "code"] = "intent"
    """Which formula the output gate follows. `intent`: what the paper's text asks for;
    `intent_raw`: the same with the gate before zoneout; `literal`: as printed; `code`: as the
    original code does (spec section 9.5)."""

    def __post_init__(self) -> None:
        require_probability("regularizer.output_gate.p_gate", self.p_gate)

    @property
    def active(self) -> bool:
        return self.p_gate > 0

    def check(self, trial: Surroundings) -> None:
        super().check(trial)
        must = (
            "none with masks on the output gate, whose last value does not go on from chunk to"
            " chunk"
        )
        require(trial.carry == "none" or self.gate_form == "code", "carry", trial.carry, must)

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        key, stream = "regularizer.output_gate.p_gate", "masks_output_gate"
        return (
            dropout("update", key, self.p_gate, stream=stream),
            dropout("gate", key, self.p_gate, stream=stream, form=self.gate_form),
        )


PART = OutputGate
