"""Surprisal-driven zoneout: the cell `surprisal_lstm` draws its masks by how surprised it is (spec
section 9.15).

The cell has the equations and their settings, such as tau. This regularizer gives it the uniform
numbers that it compares with the probabilities of an update. Without them the cell uses the
probabilities themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zoneout_core.regularizers import LANE, Mask, Regularizer, Surroundings

KEY = "regularizer.surprisal.surprisal_masks"


@dataclass(frozen=True, kw_only=True)
class Surprisal(Regularizer):
    """Its strength is the cell's `tau`: the probability of an update where nothing surprises."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"surprisal.surprisal_masks": "expected", "cell": "surprisal_lstm"},
        {"surprisal.surprisal_masks": "sampled", "cell": "surprisal_lstm"},
    )

    surprisal_masks: Literal["off", "expected", "sampled"] = field(default="off", metadata=LANE)
    """Whether surprisal-driven zoneout draws masks in training, with the cell `surprisal_lstm`
    only. `expected`: evaluations take the probabilities instead; `sampled`: evaluations draw masks
    too, as its authors do (spec section 9.15)."""

    @property
    def active(self) -> bool:
        return self.surprisal_masks != "off"

    def check(self, trial: Surroundings) -> None:
        trial.require_site("uniform", KEY, self.surprisal_masks, "off")

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        expected: float | None = 0.5
        if self.surprisal_masks == "sampled":
            expected = None
        stream = "masks_surprisal_uniform"
        return (
            Mask(
                site="uniform",
                key=KEY,
                strength=self.surprisal_masks,
                probability=0.5,
                expected=expected,
                stream=stream,
                kind="uniform",
            ),
        )


PART = Surprisal
