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
    """The recurrence of each layer, such as `lstm`, `gru` or `rnn`: the name of a file in
    `zoneout_core/cells` (spec section 1)."""
    num_layers: int = 1
    """Number of stacked recurrent layers."""
    hidden_size: int = 1000
    """Units of each recurrent layer (H). Time and memory grow with its square; the paper takes 1000
    for characters (spec section 2.3)."""
    embedding_size: int = 0
    """Width of the embedding of input symbols (E). At 0 there is none: symbols enter the first
    layer one-hot (spec section 3)."""
    init: Literal["blocks", "orthogonal", "uniform", "identity"] = "blocks"
    """How weight matrices are drawn. `blocks`: tiles of independent orthogonal squares, as the
    original code of 2017 does; `orthogonal`: one orthogonal matrix, as its code of 2016; `uniform`:
    numbers from -init_width to init_width; `identity`: the identity for the recurrent weights of
    the LSTM's candidate and one orthogonal matrix for its gates (spec sections 2.3 and 5)."""
    init_width: float = 0.1
    """Bound of uniform initial numbers, which lie between -init_width and init_width. It matters
    only where weights or biases are drawn uniformly (spec section 3)."""
    init_biases: Literal["zero", "uniform"] = "zero"
    """Where biases start: at zero, or drawn uniformly as the weights of word models are (spec
    section 3)."""
    init_state: Literal["trainable", "zero"] = "trainable"
    """The state that a sequence starts from: parameters that start at zero and are trained, or
    zeros that stay (spec section 1)."""
    forget_bias: float = 1.0
    """Initial value of the forget gate's trainable bias. At 1 a new network remembers most of its
    state (spec section 1)."""
    forget_constant: float = 0.0
    """A constant that is added to the forget gate's input and never trained. The original code has
    1 here and a bias that starts at 0; set it together with `forget_bias` (spec section 1)."""

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
