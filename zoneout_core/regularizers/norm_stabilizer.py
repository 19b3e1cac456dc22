"""The norm stabilizer of Krueger and Memisevic: states must not grow or shrink from step to step
(spec 9.10).

    loss += beta * mean over examples of (1/T) * sum over t = 2..T of (|h_t| - |h_{t-1}|)^2

h_t is the carried state, after zoneout; h_0 takes no part. Evaluations are not affected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, Literal

from zoneout_core.regularizers import LANE, Penalty, Surroundings, require

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-30
"""Smallest square of a norm: a state of zeros has gradient 0, not NaN."""


@dataclass(frozen=True, kw_only=True)
class NormStabilizer(Penalty):
    """A penalty on the changing norm of the states, or of the cells."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = (
        {"norm_stabilizer.beta_norm": 50.0},
        {"norm_stabilizer.beta_norm": 50.0, "norm_stabilizer.norm_of": "cells"},
        {"norm_stabilizer.beta_norm": 50.0, "norm_stabilizer.norm_divisor": "differences"},
    )

    beta_norm: float = field(default=0.0, metadata=LANE)
    """Weight of a penalty on how much the norm of the state changes from step to step (beta in the
    paper, which takes 50). 0 switches it off (spec section 9.10)."""
    norm_of: Literal["states", "cells"] = field(default="states", metadata=LANE)
    """Whose norm is held steady: that of the hidden states or of the cells (spec section 9.10)."""
    norm_divisor: Literal["steps", "differences"] = field(default="steps", metadata=LANE)
    """What the sum over a sequence of T steps is divided by. `steps`: T, as the original code does;
    `differences`: T - 1, the number of differences (spec section 9.10)."""

    def __post_init__(self) -> None:
        beta = self.beta_norm
        require(
            beta >= 0 and isfinite(beta),
            "regularizer.norm_stabilizer.beta_norm",
            beta,
            "a number of at least 0",
        )

    @property
    def active(self) -> bool:
        return self.beta_norm > 0

    def check(self, trial: Surroundings) -> None:
        carried = " and ".join(trial.states)
        must = f"states with model.cell={trial.model.cell}, which carries {carried}"
        require(
            self.penalised in trial.states,
            "regularizer.norm_stabilizer.norm_of",
            self.norm_of,
            must,
        )

    @property
    def penalised(self) -> str:
        return {"states": "h", "cells": "c"}[self.norm_of]

    def penalty(self, trajectory_TBH: Tensor) -> Tensor:
        steps = len(trajectory_TBH)
        norms_TB = trajectory_TBH.square().sum(-1).clamp(min=FLOOR).sqrt()
        if self.norm_divisor == "steps":
            divisor = steps
        else:
            divisor = max(steps - 1, 1)
        return norms_TB.diff(dim=0).square().sum(0) * (self.beta_norm / divisor)


PART = NormStabilizer
