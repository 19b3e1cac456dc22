"""The network and its optimizer: what every trial has, whatever its cell and regularizers. Imports
no torch.
"""

from dataclasses import dataclass, field
from typing import Literal

from zoneout_core.config import registry
from zoneout_core.config.fields import ENDLESS, LANE, require
from zoneout_core.errors import UnknownName

CELLS = "zoneout_core.cells"
"""The package whose files are the cells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network: (embedding ->) recurrent layers -> linear -> what the task predicts (spec
    section 2.3)."""

    cell: str = "lstm"
    """A file name of `zoneout_core.cells`."""
    num_layers: int = 1
    hidden_size: int = 1000
    """H, units of each recurrent layer."""
    embedding_size: int = 0
    """E, width of the embedding of input symbols; 0 = they enter the first layer one-hot."""
    init: Literal["blocks", "orthogonal", "uniform", "identity"] = "blocks"
    """Orthogonal square blocks (2017 code, default), one orthogonal matrix (2016), uniform, or
    RBN's identity."""
    init_width: float = 0.1
    """`uniform` draws from [-width, width]."""
    init_biases: Literal["zero", "uniform"] = "zero"
    """Word models draw their biases as their weights (spec section 3)."""
    init_state: Literal["trainable", "zero"] = "trainable"
    """Initial states: parameters that start at zero, or fixed zeros."""
    forget_bias: float = 1.0
    """Initial value of the trainable bias of the forget gate."""
    forget_constant: float = 0.0
    """A constant that is added to the forget gate's pre-activation (spec section 1; the code's
    way)."""

    def __post_init__(self) -> None:
        known = registry.names(CELLS)
        if self.cell not in known:
            raise UnknownName("cell", self.cell, known)
        for name in ("num_layers", "hidden_size"):
            require(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "at least 1")
        require(
            self.embedding_size >= 0,
            "model.embedding_size",
            self.embedding_size,
            "at least 0 (0 = none)",
        )
        require(self.init_width > 0, "model.init_width", self.init_width, "above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """The optimizer, with a norm clip over all parameters jointly (spec sections 2.3, 3, 5)."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    """RMSProp is Blocks' of spec section 5, SGD the plain one of section 3."""
    learning_rate: float = field(default=0.002, metadata=LANE)
    clip: Literal["gradient", "update"] = field(default="gradient", metadata=LANE)
    """Clip the gradient before the optimizer (paper), or its whole step after it (code)."""
    clip_norm: float = field(default=1.0, metadata=LANE | ENDLESS)
    """Largest L2 norm that passes unclipped; `inf` never clips."""
    beta1: float = field(default=0.9, metadata=LANE)
    beta2: float = field(default=0.999, metadata=LANE)
    eps: float = field(default=1e-8, metadata=LANE)
    decay_rate: float = field(default=0.5, metadata=LANE)
    """RMSProp's share of the old mean square."""
    rms_floor: float = field(default=1e-5, metadata=LANE)
    """RMSProp's smallest root mean square."""
    weight_decay: float = field(default=0.0, metadata=LANE)
    """Decoupled and not scaled by the learning rate: w <- w - weight_decay w after every update
    (spec 11.2)."""
    schedule: Literal["constant", "decay", "plateau"] = field(default="constant", metadata=LANE)
    """`decay`: divide by `decay_factor` after each epoch from `decay_after` on; `plateau`: whenever
    the validation value did not improve in an epoch."""
    decay_after: int = field(default=15, metadata=LANE)
    """The first epoch after which the learning rate is divided (spec section 3: 15 in programs, 14
    in the text)."""
    decay_factor: float = field(default=1.15, metadata=LANE)

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
