"""What decides a trial's numbers: typed, frozen, validated, JSON in and out. Imports no torch.

Fields marked `lane` may differ between the lanes of a pack; all others make up the shape key.
Probabilities named `z_*` are probabilities of PRESERVING the old value (zoneout), `p_*` of
DROPPING.

The section `cell` has the settings of the cell that `model.cell` names, and `regularizer` has a
part for each regularizer. The files of those packages declare the settings, and are imported when
a configuration is made.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, Self, cast

from zoneout_core.config import part_keys, parts, registry
from zoneout_core.config.contracts import CellPart, Surroundings
from zoneout_core.config.fields import (
    LANE,
    coerce,
    dotted,
    fields_of,
    plain,
    replaced,
    require,
    require_finite,
)
from zoneout_core.config.model import ModelConfig
from zoneout_core.config.optim import OptimConfig
from zoneout_core.config.section import RegularizerConfig
from zoneout_core.errors import ConfigError, UnknownName

__all__ = [
    "LANE",
    "ModelConfig",
    "OptimConfig",
    "TrialConfig",
    "coerce",
    "locate",
    "plain",
    "require",
]

LISTING = "sweep explain"
"""The command that lists all settings."""
LABEL = 200
"""Most characters of a label: the names of Optuna's parameters contain it, and a database takes
512."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial: a hyperparameter assignment and a seed. Its numbers depend on this and nothing
    else."""

    label: str = field(default="", metadata=LANE)
    """What tables and figures call this trial's row or curve, such as `zoneout`. No number depends
    on it."""
    task: str = "char_ptb"
    """What is learned: a data set with its loss, metrics and evaluation protocol. `sweep data ls`
    lists the tasks."""
    variant: str = ""
    """Which form of the task's data is used, such as `442k` of char_ptb (spec section 2.1). Empty
    takes the first that `sweep data ls` lists."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network: its cell, its size and how its weights start (spec section 2.3)."""
    cell: CellPart = field(default=cast("CellPart", None))
    """What is special to the cell in `model.cell`. Settings of other cells cannot be set."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig.default)
    """Zoneout and other noise, masks and penalties of training, all off by default; several may be
    on at once (spec section 9)."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer: its update rule, learning rate and clipping (spec sections 2.3, 3 and 5)."""
    batch_size: int = 32
    """Sequences per update (B). The paper takes 32 for characters, 20 for words, 128 for text8 and
    100 for MNIST (spec sections 2.2, 3, 4 and 5)."""
    sequence_length: int = 100
    """Tokens per training sequence; gradients reach no further back. A separate chunk has one
    prediction fewer than tokens; a chunk whose state is carried has as many (spec sections 2.2 and
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
        kind = parts.cell(self.model.cell)
        cell: CellPart | None = self.cell
        if cell is None:
            object.__setattr__(self, "cell", parts.default(kind))
        must = f"a {kind.__name__} with model.cell={self.model.cell}"
        require(type(self.cell) is kind, "cell", self.cell, must)
        for section, part in self._sections():
            require_finite(part, section)
        self._check_parts()

    def _check_parts(self) -> None:
        trial = Surroundings(
            task=self.task,
            model=self.model,
            sites=self.cell.SITES,
            states=tuple(self.cell.sizes(self.model)),
            program=self.regularizer.program(),
            batch_size=self.batch_size,
            sequence_length=self.sequence_length,
            carry=self.carry,
        )
        for part in self.regularizer.active():
            part.check(trial)
        self.cell.check(trial)

    def _sections(self, *, written: bool = False) -> Iterator[tuple[str, Any]]:
        """Every section with its name: `model`, `cell`, `regularizer.zoneout`, ..., `optim`.

        written: see `RegularizerConfig.written`.
        """
        yield "model", self.model
        yield "cell", self.cell
        regularizers = self.regularizer.items()
        if written:
            regularizers = self.regularizer.written()
        for name, part in regularizers:
            yield f"regularizer.{name}", part
        yield "optim", self.optim

    def _dataclasses(
        self, *, written: bool = False
    ) -> Iterator[tuple[str, Any, tuple[Field[Any], ...]]]:
        """(section, dataclass, its plain fields), those of the top level first; see `_sections`."""
        yield "", self, PLAIN
        for section, part in self._sections(written=written):
            kind: type = type(part)
            yield section, part, fields_of(kind)

    def with_values(self, values: Mapping[str, object]) -> Self:
        """A copy with fields replaced, all at once.

        Keys are full (`optim.learning_rate`) or short for one (`learning_rate`): see `locate`.
        Values may be strings (from a command line) and are checked by the field's type. A new
        `model.cell` brings its default settings; those of the same call are of the new cell.

        Raises `UnknownName` for a key that does not exist and `ConfigError` for a value of the
        wrong type or one that the rest does not allow.
        """
        sections: dict[str, dict[str, object]] = {}
        for key, value in values.items():
            section, name = locate(key)
            sections.setdefault(section, {})[name] = value
        return self._with_sections(sections)

    def _with_sections(self, values: Mapping[str, Mapping[str, object]]) -> Self:
        """`values`: fields by section, as `_sections` names them."""
        changes: dict[str, Any] = {}
        for name, value in values.get("", {}).items():
            changes[name] = coerce(TrialConfig, name, value)
        changes["model"] = replaced(self.model, values.get("model", {}), "model")
        changes["optim"] = replaced(self.optim, values.get("optim", {}), "optim")
        changes["cell"] = self._cell_with(changes["model"].cell, values.get("cell", {}))
        regularizer_values = {}
        for section, section_values in values.items():
            group, _, part = section.partition(".")
            if group == "regularizer":
                regularizer_values[part] = section_values
        if regularizer_values:
            changes["regularizer"] = self.regularizer.with_values(regularizer_values)
        return replace(self, **changes)

    def _cell_with(self, name: str, values: Mapping[str, object]) -> CellPart:
        cell = self.cell
        if name != self.model.cell:
            cell = parts.default(parts.cell(name))
        for setting in values:
            part_keys.require_of_cell(setting, name, type(cell))
        return replaced(cell, values, "cell")

    def flat(self) -> dict[str, Any]:
        """All fields by full key, with those of the chosen cell only."""
        return {
            dotted(section, f.name): getattr(part, f.name)
            for section, part, plain_fields in self._dataclasses()
            for f in plain_fields
        }

    def value(self, key: str) -> Any:
        """The value of a key, full or short. Raises `UnknownName`, and `ConfigError` for a setting
        of another cell than the chosen one."""
        section, name = locate(key)
        if section == "cell":
            part_keys.require_of_cell(name, self.model.cell, type(self.cell))
        group, _, regularizer = section.partition(".")
        if regularizer:
            return getattr(self.regularizer[regularizer], name)
        if group:
            return getattr(getattr(self, group), name)
        return getattr(self, name)

    def shape_key(self) -> str:
        """What the lanes of a pack share, as readable text with a short hash of all of it."""
        shared = {
            dotted(section, f.name): getattr(part, f.name)
            for section, part, plain_fields in self._dataclasses(written=True)
            for f in plain_fields
            if not f.metadata.get("lane")
        }
        digest = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:8]
        if self.model.num_layers > 1:
            layers = f"{self.model.num_layers}x"
        else:
            layers = ""
        cell = f"{self.model.cell}{layers}{self.model.hidden_size}"
        sizes = f"{cell}-b{self.batch_size}-l{self.sequence_length}"
        return f"{self.task}-{sizes}-{self.precision}-{digest}"

    def to_json(self) -> dict[str, Any]:
        """Nested plain data, from which `from_json` makes the same configuration."""
        data: dict[str, Any] = {f.name: plain(getattr(self, f.name)) for f in PLAIN}
        regularizer: dict[str, Any] = {}
        for section, part in self._sections(written=True):
            group, _, name = section.partition(".")
            if name:
                regularizer[name] = _plain(part)
            else:
                data[group] = _plain(part)
        return data | {"regularizer": regularizer}

    def changed(self) -> dict[str, Any]:
        """The fields that do not have their default value, by full key, as plain data.

        Short enough to read; `from_json` makes the same configuration from it.
        """
        return {
            dotted(section, f.name): plain(getattr(part, f.name))
            for section, part, plain_fields in self._dataclasses()
            for f in plain_fields
            if getattr(part, f.name) != f.default
        }

    @staticmethod
    def from_json(data: Mapping[str, object]) -> "TrialConfig":
        """The configuration whose `to_json` or `changed` is `data`.

        Raises `UnknownName` or `ConfigError` when `data` has unknown keys or values of the wrong
        type."""
        sections: dict[str, dict[str, object]] = {}
        for key, value in data.items():
            if key == "regularizer" and isinstance(value, Mapping):
                sections |= _of_regularizers(value)
            elif key in ("model", "cell", "optim") and isinstance(value, Mapping):
                sections[key] = dict(value)
            else:
                section, name = locate(key)
                sections.setdefault(section, {})[name] = value
        return _default()._with_sections(sections)

    def __reduce__(self) -> tuple[Any, ...]:
        return TrialConfig.from_json, (self.changed(),)


PLAIN = tuple(
    f for f in fields(TrialConfig) if f.name not in ("model", "cell", "regularizer", "optim")
)
"""The fields of the top level that are not sections."""
CORE: dict[str, type] = {"": TrialConfig, "model": ModelConfig, "optim": OptimConfig}
"""The dataclasses that every configuration has, by section."""


def _core_places() -> dict[str, tuple[str, str]]:
    """(section, field) by full key and by field name."""
    places = {}
    for section in ("model", "optim"):
        for f in fields(CORE[section]):
            places[f.name] = places[f"{section}.{f.name}"] = (section, f.name)
    return places | {f.name: ("", f.name) for f in PLAIN}


CORE_PLACES = _core_places()


@registry.cached
def _default() -> TrialConfig:
    return TrialConfig()


def _plain(part: Any) -> dict[str, Any]:
    kind: type = type(part)
    return {f.name: plain(getattr(part, f.name)) for f in fields_of(kind)}


def _of_regularizers(data: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """The section `regularizer` of plain data, as sections of its parts."""
    sections = {}
    for name, values in data.items():
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"regularizer.{name} is written as version 0.1 wrote it, but this version reads"
                " regularizer.PART.FIELD, such as regularizer.zoneout.z_cells: make the file"
                " again with this version."
            )
        parts.regularizer(name)
        sections[f"regularizer.{name}"] = dict(values)
    return sections


def locate(key: str) -> tuple[str, str]:
    """(section, field) of a key: a full one (`model.hidden_size`, `cell.reset`,
    `regularizer.zoneout.z_cells`), a field's bare name, or the name of a regularizer and its field
    (`zoneout.z_cells`).

    The section is "" at the top level. A setting that every configuration has goes before others of
    the same bare name. Raises `UnknownName` with the closest match, `ConfigError` for a name that
    stands for several keys, and `PluginError` for a regularizer whose file is broken.
    """
    place = CORE_PLACES.get(key)
    if place is not None:
        return place
    full = part_keys.full(key)
    if full is None:
        _refuse_broken(key)
        written_in_full = "." in key
        known = [name for name in CORE_PLACES if ("." in name) == written_in_full]
        known += part_keys.every() if written_in_full else part_keys.short()
        raise UnknownName("setting", key, known, LISTING)
    section, _, name = full.rpartition(".")
    return section, name


def _refuse_broken(key: str) -> None:
    """Raise `PluginError` if a key names a regularizer whose file is broken."""
    for name in key.split(".")[-3:-1]:
        if name in registry.names(parts.REGULARIZERS):
            parts.regularizer(name)
