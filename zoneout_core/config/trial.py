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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial: a hyperparameter assignment and a seed. Its numbers depend on this and nothing
    else."""

    SECTIONS: ClassVar[tuple[str, ...]] = ("model", "cell", "regularizer", "optim")

    label: str = field(default="", metadata=LANE)
    """What people call this trial's row or curve, such as `zoneout`; no number depends on it."""
    task: str = "char_ptb"
    """A file name of `zoneout_core.tasks`."""
    variant: str = ""
    """Which form of the task's data; empty = the task's default."""
    model: ModelConfig = ModelConfig()
    cell: CellConfig = CellConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    optim: OptimConfig = OptimConfig()
    batch_size: int = 32
    """B, examples per update."""
    sequence_length: int = 100
    """Tokens per chunk: one prediction fewer where chunks are cut apart, as many where the state
    is carried."""
    offset: Literal["random", "zero"] = field(default="random", metadata=LANE)
    """Where an epoch starts to cut chunks: a random offset below `sequence_length` (LSTM), or 0
    (spec 2.2)."""
    valid_offset: Literal["zero", "random"] = field(default="zero", metadata=LANE)
    """Where the chunked evaluation starts to cut: at 0, or as the code does, at random (spec
    2.5)."""
    carry: Literal["none", "zero", "roll"] = "none"
    """The state between chunks: not carried; carried and zeroed at an epoch's start; or carried
    there too, each example's to the next (spec section 3)."""
    loss: Literal["mean", "sum"] = "mean"
    """Over the time steps; over the batch it is the mean (spec section 3)."""
    epochs: int = field(default=30, metadata=LANE)
    patience: int = field(default=25, metadata=LANE)
    """Epochs without a better validation value after which the trial ends early."""
    seed: int = field(default=0, metadata=LANE)
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """Of the products; master weights, cells and sums stay float32 (float64 for tests)."""
    train_fraction: float = 1.0
    """Share of the training data that is used, from its start; below 1 the numbers are partial."""
    eval_fraction: float = 1.0
    """Share of the valid and test data that is used, from its start; below 1 the numbers are
    partial."""

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


def locate(key: str) -> tuple[str, str]:
    """(section, field) of a dotted key or bare field name; section is "" at the top level.

    Raises `UnknownName` with the closest match.
    """
    if key not in _PLACES:
        raise UnknownName("configuration key", key, _SHORT)
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
