"""What decides a trial's numbers: typed, frozen, validated, JSON in and out. Imports no torch.

Fields marked `lane` may differ between the lanes of a pack; all others make up the shape key.
Probabilities named `z_*` are probabilities of PRESERVING the old value (zoneout), `p_*` of
DROPPING.

Sections `cell` and `regularizer` have the fields that the files of those packages declare.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Literal, Self

from zoneout_core.cells import CellConfig
from zoneout_core.cells import names as cell_names
from zoneout_core.config.section import (
    ENDLESS,
    LANE,
    Section,
    coerce,
    hints,
    plain,
    replaced,
    require,
    require_finite,
)
from zoneout_core.errors import UnknownName
from zoneout_core.regularizers import RegularizerConfig

__all__ = [
    "KEYS",
    "LANE",
    "LANE_KEYS",
    "ModelConfig",
    "OptimConfig",
    "TrialConfig",
    "coerce",
    "locate",
    "plain",
    "require",
    "type_of",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network: (embedding ->) recurrent layers -> linear -> what the task predicts (spec
    section 2.3)."""

    cell: str = "lstm"
    """The recurrence of each layer, such as `lstm`, `gru` or `rnn`: the name of a file in
    `zoneout_core/cells` (spec section 1)."""
    num_layers: int = 1
    """How many recurrent layers stand above one another."""
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
        if self.cell not in cell_names():
            raise UnknownName("cell", self.cell, cell_names())
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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial: a hyperparameter assignment and a seed. Its numbers depend on this and nothing
    else."""

    SECTIONS: ClassVar[tuple[str, ...]] = ("model", "cell", "regularizer", "optim")

    label: str = field(default="", metadata=LANE)
    """What tables and figures call this trial's row or curve, such as `zoneout`. No number depends
    on it."""
    task: str = "char_ptb"
    """What is learned: a data set with its loss, metrics and evaluation protocol. `sweep data ls`
    lists the tasks."""
    variant: str = ""
    """Which form of the task's data is used, such as `442k` of char_ptb (spec section 2.1). Empty
    takes the first that `sweep data ls` lists."""
    model: ModelConfig = ModelConfig()
    """The network: its cell, its size and how its weights start (spec section 2.3)."""
    cell: CellConfig = CellConfig()
    """What is special to one cell. Only the settings of the cell in `model.cell` may be changed."""
    regularizer: RegularizerConfig = RegularizerConfig()
    """Zoneout and other noise, masks and penalties of training, all off by default; several may be
    on at once (spec section 9)."""
    optim: OptimConfig = OptimConfig()
    """The optimizer: its update rule, learning rate and clipping (spec sections 2.3, 3 and 5)."""
    batch_size: int = 32
    """Sequences per update (B). The paper takes 32 for characters, 20 for words, 128 for text8 and
    100 for MNIST (spec sections 2.2, 3, 4 and 5)."""
    sequence_length: int = 100
    """Tokens per training sequence; gradients reach no further back. A chunk that is cut apart has
    one prediction fewer than tokens, one whose state is carried has as many (spec sections 2.2 and
    3)."""
    offset: Literal["random", "zero"] = field(default="random", metadata=LANE)
    """Where an epoch starts to cut the training text into chunks. `random`: at an offset below
    `sequence_length`, drawn anew each epoch (the paper's LSTM); `zero`: at the first token (its GRU
    and RNN); spec section 2.2."""
    valid_offset: Literal["zero", "random"] = field(default="zero", metadata=LANE)
    """Where the chunked evaluation starts to cut the text. `zero`: at the first token, so that no
    chance is in the score; `random`: anywhere below `sequence_length`, as the original code does
    (spec section 2.5)."""
    carry: Literal["none", "zero", "roll"] = "none"
    """What happens to the state between chunks. `none`: each chunk begins at the initial state;
    `zero`: the state is carried on and set to zero when an epoch begins; `roll`: it is carried into
    the next epoch too, from each sequence of the batch to the next (spec section 3)."""
    loss: Literal["mean", "sum"] = "mean"
    """How the loss adds up over time steps: their mean, or their sum, whose gradient is larger by
    the number of steps. Over the batch it is always the mean (spec section 3)."""
    epochs: int = field(default=30, metadata=LANE)
    """Largest number of passes over the training data; `patience` may end a trial before (spec
    section 2.3)."""
    patience: int = field(default=25, metadata=LANE)
    """Epochs without a better validation score after which a trial ends. Its final scores are those
    of its best weights (spec section 2.3)."""
    seed: int = field(default=0, metadata=LANE)
    """Seed of initial weights, masks and the order of the data. The sweep's `seeds` sets it, so it
    cannot be set alone."""
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """Number format of the matrix products. With `bfloat16` weights, states and sums stay float32;
    `float64` is for tests."""
    train_fraction: float = 1.0
    """Share of the training data that is used, from its start. Below 1 a trial is quick and its
    scores cannot be compared with published ones."""
    eval_fraction: float = 1.0
    """Share of the validation and test data that is scored, from its start. Below 1 evaluations are
    quick and their scores cannot be compared with published ones."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(
            self.sequence_length >= 2,
            "sequence_length",
            self.sequence_length,
            "at least 2 (one input and one target)",
        )
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.patience >= 1, "patience", self.patience, "at least 1")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        for name in ("train_fraction", "eval_fraction"):
            value = getattr(self, name)
            require(0.0 < value <= 1.0, name, value, "above 0 and at most 1")
        label = self.label.encode("utf-8", "ignore").decode().replace("\0", "")
        require(label == self.label, "label", self.label, "text that a database can hold")
        require(len(label) <= LABEL, "label", label, f"at most {LABEL} characters long")
        for section in self.SECTIONS:
            chosen = getattr(self, section)
            for part in chosen.parts if isinstance(chosen, Section) else (chosen,):
                require_finite(part, section)
        for part in self.regularizer.active():
            part.check(self)
        self.cell.check(self)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with fields replaced, all at once; keys are dotted (`optim.learning_rate`) or
        unambiguous names.

        Values may be strings (from a command line) and are checked by the field's type.
        Raises `UnknownName` for a key that does not exist and `ConfigError` for a value of the
        wrong type or one that the rest does not allow.
        """
        top: dict[str, Any] = {}
        inner: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            section, name = locate(key)
            if section:
                inner.setdefault(section, {})[name] = value
            else:
                top[name] = coerce(TrialConfig, name, value)
        for section, own in inner.items():
            part = getattr(self, section)
            top[section] = (
                part.with_values(own) if isinstance(part, Section) else replaced(part, own)
            )
        return replace(self, **top)

    def flat(self) -> dict[str, Any]:
        """All fields by dotted key, in the order of definition."""
        return {key: self.value(key) for key in KEYS}

    def value(self, key: str) -> Any:
        """The value of a dotted key or unambiguous field name."""
        section, name = locate(key)
        if section:
            return getattr(getattr(self, section), name)
        return getattr(self, name)

    def shape_key(self) -> str:
        """What lanes of one pack have to share, as readable text plus a short hash of all of it."""
        shared = {key: self.value(key) for key in KEYS if key not in LANE_KEYS}
        digest = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:8]
        if self.model.num_layers > 1:
            layers = f"{self.model.num_layers}x"
        else:
            layers = ""
        cell = f"{self.model.cell}{layers}{self.model.hidden_size}"
        sizes = f"{cell}-b{self.batch_size}-l{self.sequence_length}"
        return f"{self.task}-{sizes}-{self.precision}-{digest}"

    def to_json(self) -> dict[str, Any]:
        """Nested plain data; `from_json` gives the same configuration back."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    def changed(self) -> dict[str, Any]:
        """The fields that do not have their default value, by dotted key, as plain data.

        Short enough to be read; `from_json` gives the same configuration back.
        """
        return {key: plain(value) for key, value in self.flat().items() if value != _DEFAULTS[key]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` or `changed` told.

        Raises `UnknownName` or `ConfigError` when `data` has unknown keys or values of the wrong
        type."""
        flat: dict[str, Any] = {}
        for key, value in data.items():
            if key in cls.SECTIONS and isinstance(value, Mapping):
                flat |= {f"{key}.{name}": v for name, v in value.items()}
            else:
                flat[key] = value
        return cls().with_values(flat)


LABEL = 200
"""Characters of the longest label: names of Optuna's parameters carry it, and a database takes
512."""


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return {name: _plain(v) for name, v in value.values().items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return plain(value)


def _fields(section: str) -> dict[str, Field[Any]]:
    kind = hints(TrialConfig)[section]
    if issubclass(kind, Section):
        declared: dict[str, Field[Any]] = kind.declared()
        return declared
    return {f.name: f for f in fields(kind)}


def _keys() -> dict[str, bool]:
    """Every dotted key and whether lanes may differ in it."""
    keys: dict[str, bool] = {}
    for f in fields(TrialConfig):
        if f.name in TrialConfig.SECTIONS:
            keys |= {
                f"{f.name}.{name}": bool(g.metadata.get("lane"))
                for name, g in _fields(f.name).items()
            }
        else:
            keys[f.name] = bool(f.metadata.get("lane"))
    return keys


KEYS: tuple[str, ...] = tuple(_keys())
LANE_KEYS: frozenset[str] = frozenset(key for key, lane in _keys().items() if lane)
_SHORT = {key.rsplit(".", 1)[-1]: key for key in KEYS}
assert len(_SHORT) == len(KEYS), (
    "field names are unique over the sections, so that short keys are unambiguous"
)
_PLACES = {name: (key.rpartition(".")[0], name) for name, key in _SHORT.items()}
_PLACES |= {key: _PLACES[name] for name, key in _SHORT.items()}


LISTING = "sweep explain"
"""The command that lists all settings."""


def locate(key: str) -> tuple[str, str]:
    """(section, field) of a dotted key or bare field name; section is "" at the top level.

    Raises `UnknownName` with the closest match.
    """
    if key not in _PLACES:
        raise UnknownName("setting", key, KEYS if "." in key else _SHORT, LISTING)
    return _PLACES[key]


def owner_of(key: str) -> tuple[type, str]:
    """The dataclass that declares a dotted key or bare field name, and the field. Raises
    `UnknownName`."""
    section, name = locate(key)
    kind: type = hints(TrialConfig)[section] if section else TrialConfig
    return (kind.owners()[name] if issubclass(kind, Section) else kind), name


def type_of(key: str) -> Any:
    """The type of a key: `int`, `float`, `bool`, `str`, or a `Literal` of words. Raises
    `UnknownName`."""
    owner, name = owner_of(key)
    return hints(owner)[name]


_DEFAULTS = TrialConfig().flat()
