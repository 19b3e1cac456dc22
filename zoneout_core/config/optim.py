"""The optimizer: the settings `optim.*`. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from zoneout_core.config.fields import ENDLESS, LANE, require


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """The optimizer, with a norm clip over all parameters jointly (spec sections 2.3, 3, 5)."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    """The optimizer. `adam` is the paper's for text (spec section 2.3), `rmsprop` its variant for
    MNIST (spec section 5), `sgd` plain gradient descent for words (spec section 3)."""
    learning_rate: float = field(default=0.002, metadata=LANE)
    """Step size of the optimizer. Tune it first: trials diverge when it is too high and learn
    slowly when it is too low. The paper takes 0.002 for an LSTM on characters (spec section
    2.3)."""
    clip: Literal["gradient", "update"] = field(default="gradient", metadata=LANE)
    """What is scaled down to `clip_norm`. `gradient`: the gradient, before the optimizer sees it,
    as the paper says; `update`: the optimizer's step, as the original code does (spec section
    2.3)."""
    clip_norm: float = field(default=1.0, metadata=LANE | ENDLESS)
    """Largest L2 norm, over all parameters together, that passes unchanged; `inf` switches clipping
    off. The paper takes 1 for characters and 10 for words (spec sections 2.3 and 3)."""
    beta1: float = field(default=0.9, metadata=LANE)
    """Share of Adam's mean gradient that an update keeps. Nearer to 1, it averages over more
    updates (spec section 2.3)."""
    beta2: float = field(default=0.999, metadata=LANE)
    """Share of Adam's mean squared gradient that an update keeps. Nearer to 1, it averages over
    more updates (spec section 2.3)."""
    eps: float = field(default=1e-8, metadata=LANE)
    """Number that Adam adds to its divisor, the root of the mean square, so that it never divides
    by zero (spec section 2.3)."""
    decay_rate: float = field(default=0.5, metadata=LANE)
    """Share of RMSProp's mean squared gradient that an update keeps (spec section 5)."""
    rms_floor: float = field(default=1e-5, metadata=LANE)
    """Smallest divisor of RMSProp, which otherwise divides by the root of the mean square (spec
    section 5)."""
    weight_decay: float = field(default=0.0, metadata=LANE)
    """Share of itself that every weight loses after every update, whatever the learning rate: w <-
    w - weight_decay * w (spec section 11.2)."""
    schedule: Literal["constant", "decay", "plateau"] = field(default="constant", metadata=LANE)
    """How the learning rate falls. `constant`: never; `decay`: it is divided by `decay_factor`
    after each epoch from `decay_after` on; `plateau`: it is divided after each epoch without a
    better validation score (spec sections 3 and 11.5)."""
    decay_after: int = field(default=15, metadata=LANE)
    """The first epoch after which `decay` divides the learning rate. The paper says 14 for words,
    the programs behind it do 15 (spec section 3)."""
    decay_factor: float = field(default=1.15, metadata=LANE)
    """What the learning rate is divided by, each time the schedule lowers it (spec section 3)."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "eps", "rms_floor", "decay_factor"):
            require(getattr(self, name) > 0, f"optim.{name}", getattr(self, name), "above 0")
        require(self.clip_norm > 0, "optim.clip_norm", self.clip_norm, "above 0 (inf never clips)")
        for name in ("beta1", "beta2", "decay_rate"):
            value = getattr(self, name)
            require(0.0 <= value < 1.0, f"optim.{name}", value, "at least 0 and below 1")
        require(
            0.0 <= self.weight_decay < 1.0,
            "optim.weight_decay",
            self.weight_decay,
            "at least 0 and below 1",
        )
        require(self.decay_after >= 1, "optim.decay_after", self.decay_after, "at least 1")
