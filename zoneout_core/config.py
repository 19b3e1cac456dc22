"""What decides a trial's numbers: typed, frozen, validated, JSON in and out. Imports no torch.

Fields marked `lane` may differ between the lanes of a pack; all others make up the shape key. Probabilities
named `z_*` are probabilities of PRESERVING the old value (zoneout); `p_*` would be probabilities of DROPPING.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from zoneout_core.errors import ConfigError, UnknownName

LANE = {"lane": True}  # field metadata: lanes of one pack may differ in it


def require(rule: bool, field_name: str, value: object, must: str) -> None:
    """Raise `ConfigError` naming the field, its value and the rule, unless `rule` holds."""
    if not rule:
        raise ConfigError(f"{field_name} must be {must}, but is {value!r}. Set it with --set {field_name}=VALUE.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network: one-hot characters -> recurrent layer -> linear -> softmax (spec section 2.3)."""

    cell: Literal["lstm"] = "lstm"
    hidden: int = 1000
    """H, units of the recurrent layer."""
    init: Literal["blocks", "whole", "uniform"] = "blocks"
    """Orthogonal square blocks (2017 code, default), one orthogonal matrix (2016), or uniform +-0.1."""
    init_state: Literal["trainable", "zero"] = "trainable"
    """h_0 and c_0: parameters that start at zero, or fixed zeros."""
    forget_bias: float = 1.0
    """Initial value of the trainable bias of the forget gate."""

    def __post_init__(self) -> None:
        require(self.hidden >= 1, "model.hidden", self.hidden, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RegularizerConfig:
    """What is masked and how often (spec section 9). Everything here may differ per lane."""

    z_cells: float = field(default=0.0, metadata=LANE)
    """Probability that a cell keeps its previous value at a step."""
    z_states: float = field(default=0.0, metadata=LANE)
    """Probability that a hidden state keeps its previous value at a step."""

    def __post_init__(self) -> None:
        for name in ("z_cells", "z_states"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, f"regularizer.{name}", value, "a probability from 0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """Adam with a norm clip over all parameters jointly (spec section 2.3)."""

    learning_rate: float = field(default=0.002, metadata=LANE)
    clip: Literal["gradient", "update"] = field(default="gradient", metadata=LANE)
    """Clip the gradient before Adam (paper), or Adam's whole step after it (code)."""
    clip_norm: float = field(default=1.0, metadata=LANE)
    """Largest L2 norm that passes unclipped; `inf` never clips."""
    beta1: float = field(default=0.9, metadata=LANE)
    beta2: float = field(default=0.999, metadata=LANE)
    eps: float = field(default=1e-8, metadata=LANE)

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optim.learning_rate", self.learning_rate, "above 0")
        require(self.clip_norm > 0, "optim.clip_norm", self.clip_norm, "above 0 (inf never clips)")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0.0 <= value < 1.0, f"optim.{name}", value, "at least 0 and below 1")
        require(self.eps > 0, "optim.eps", self.eps, "above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial: a hyperparameter assignment and a seed. Its numbers depend on this and nothing else."""

    SECTIONS: ClassVar[tuple[str, ...]] = ("model", "regularizer", "optim")

    task: str = "char_ptb"
    """A file name of `zoneout_core.tasks`."""
    variant: str = ""
    """Which form of the task's data; empty = the task's default."""
    model: ModelConfig = ModelConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    optim: OptimConfig = OptimConfig()
    batch: int = 32
    """B, chunks per update."""
    length: int = 100
    """Characters per chunk; a chunk holds length - 1 predictions."""
    offset: Literal["random", "zero"] = field(default="random", metadata=LANE)
    """Where an epoch starts to cut chunks: a random offset below `length` (LSTM), or 0 (spec 2.2)."""
    epochs: int = field(default=30, metadata=LANE)
    patience: int = field(default=25, metadata=LANE)
    """Epochs without a better validation value after which the trial ends early."""
    seed: int = field(default=0, metadata=LANE)
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """Of the products; master weights, cells and sums stay float32 (float64 for tests)."""
    fraction: float = 1.0
    """Share of the training text that is used, from its start; below 1 the numbers are partial."""

    def __post_init__(self) -> None:
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        require(self.length >= 2, "length", self.length, "at least 2 (one input and one target)")
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.patience >= 1, "patience", self.patience, "at least 1")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        require(0.0 < self.fraction <= 1.0, "fraction", self.fraction, "above 0 and at most 1")

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with fields replaced; keys are dotted (`optim.learning_rate`) or unambiguous field names.

        Values may be strings (from a command line) and are checked by the field's type.
        Raises `UnknownName` for a key that does not exist and `ConfigError` for a value of the wrong type.
        """
        config = self
        for key, value in values.items():
            section, name = locate(key)
            if not section:
                config = replace(config, **{name: coerce(TrialConfig, name, value)})
            else:
                part = getattr(config, section)
                config = replace(config, **{section: replace(part, **{name: coerce(type(part), name, value)})})
        return config

    def flat(self) -> dict[str, Any]:
        """All fields by dotted key, in the order of definition."""
        return {key: self.value(key) for key in KEYS}

    def value(self, key: str) -> Any:
        """The value of a dotted key or unambiguous field name."""
        section, name = locate(key)
        return getattr(getattr(self, section), name) if section else getattr(self, name)

    def shape_key(self) -> str:
        """What lanes of one pack have to share, as readable text plus a short hash of all of it."""
        shared = {key: self.value(key) for key in KEYS if key not in LANE_KEYS}
        digest = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:8]
        sizes = f"{self.model.cell}{self.model.hidden}-b{self.batch}-l{self.length}"
        return f"{self.task}-{sizes}-{self.precision}-{digest}"

    def to_json(self) -> dict[str, Any]:
        """Nested plain data; `from_json` gives the same configuration back."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises `UnknownName` or `ConfigError` when `data` has unknown keys or values of the wrong type."""
        flat: dict[str, Any] = {}
        for key, value in data.items():
            if key in cls.SECTIONS and isinstance(value, Mapping):
                flat |= {f"{key}.{name}": v for name, v in value.items()}
            else:
                flat[key] = value
        return cls().with_values(flat)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return "inf" if value == float("inf") else value


def _keys() -> dict[str, bool]:
    """Every dotted key and whether lanes may differ in it."""
    keys: dict[str, bool] = {}
    for f in fields(TrialConfig):
        if f.name in TrialConfig.SECTIONS:
            section = get_type_hints(TrialConfig)[f.name]
            keys |= {f"{f.name}.{g.name}": bool(g.metadata.get("lane")) for g in fields(section)}
        else:
            keys[f.name] = bool(f.metadata.get("lane"))
    return keys


KEYS: tuple[str, ...] = tuple(_keys())
LANE_KEYS: frozenset[str] = frozenset(key for key, lane in _keys().items() if lane)
_SHORT = {key.rsplit(".", 1)[-1]: key for key in KEYS}
assert len(_SHORT) == len(KEYS), "field names are unique over the sections, so that short keys are unambiguous"


def locate(key: str) -> tuple[str, str]:
    """(section, field) of a dotted key or bare field name; section is "" at the top level.

    Raises `UnknownName` with the closest match.
    """
    full = key if key in KEYS else _SHORT.get(key)
    if full is None:
        raise UnknownName("configuration key", key, _SHORT)
    section, _, name = full.rpartition(".")
    return section, name


def coerce(owner: type, name: str, value: Any) -> Any:
    """`value` as the type of field `name` of dataclass `owner`; strings are read as a command line gives them."""
    hint = get_type_hints(owner)[name]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UnknownName(f"value of {name}", str(value), [str(a) for a in get_args(hint)])
        return value
    try:
        if hint is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if hint is int and (isinstance(value, bool) or float(value) != int(float(value))):
            raise ValueError
        if hint is int:
            return int(float(value)) if not isinstance(value, str) else int(value)
        return hint(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        must = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(hint.__name__, hint.__name__)
        raise ConfigError(f"{name} must be {must}, but is {value!r}. Set it with --set {name}=VALUE.") from None
