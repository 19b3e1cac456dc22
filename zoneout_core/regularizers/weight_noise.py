"""Weight noise: once per update, N(0, sigma^2) on every weight matrix (spec section 9.9;
`zoneout_core.masking.noise`).

Biases and initial states have none. The gradient at the noisy weights updates the clean weights,
which evaluations use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from zoneout_core.regularizers import LANE, Regularizer, require


@dataclass(frozen=True, kw_only=True)
class WeightNoise(Regularizer):
    """The paper's 0.075 is more than the deviation of the initial recurrent weights, 0.032."""

    EXAMPLES: ClassVar[tuple[dict[str, object], ...]] = ({"weight_noise.sigma_weights": 0.3},)

    sigma_weights: float = field(default=0.0, metadata=LANE)
    """Standard deviation of the normal noise that is added to every weight matrix during an update
    and taken away after it. The paper takes 0.075; 0 switches it off (spec section 9.9)."""

    def __post_init__(self) -> None:
        sigma = self.sigma_weights
        require(
            sigma >= 0 and isfinite(sigma),
            "regularizer.weight_noise.sigma_weights",
            sigma,
            "a number of at least 0",
        )

    @property
    def active(self) -> bool:
        return self.sigma_weights > 0

    @property
    def weight_noise(self) -> float:
        return self.sigma_weights


PART = WeightNoise
