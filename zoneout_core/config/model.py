"""The network, whatever its cell and regularizers: the settings `model.*`. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from zoneout_core.config import registry
from zoneout_core.config.fields import require
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
