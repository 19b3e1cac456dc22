"""Recall dropout: at a step, an example may not read its own state. Evaluations read the mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from zoneout_core.regularizers import LANE, Mask, Regularizer, dropout, require_probability


@dataclass(frozen=True, kw_only=True)
class RecallDropout(Regularizer):
    """One draw per example and step, for the whole state."""

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ({"recall_dropout.p_recall": 0.4},)

    p_recall: float = field(default=0.0, metadata=LANE)
    """Probability that the products do not see an example's state at a step."""

    def __post_init__(self) -> None:
        require_probability("regularizer.recall_dropout.p_recall", self.p_recall)

    @property
    def active(self) -> bool:
        return self.p_recall > 0

    def program(self) -> tuple[Mask, ...]:
        if not self.active:
            return ()
        mask = dropout(
            "recurrent",
            "regularizer.recall_dropout.p_recall",  # the setting, for messages
            self.p_recall,
            stream="masks_recall_dropout",  # names the random numbers: never change it
            shared=frozenset({"unit"}),
        )
        return (mask,)


PART = RecallDropout
