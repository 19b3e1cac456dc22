"""A sweep: everything that decides which trials run and how, as one frozen, validated,
JSON-serialisable value.

A definition is a function `sweep()` in a file of `sweeps.definitions`; the file's name is the
sweep's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

import search_spaces
from search_spaces import Choice, Product, Space
from sweeps import secrets
from zoneout_core import tasks
from zoneout_core.config import registry
from zoneout_core.config.fields import hints, require_finite
from zoneout_core.config.keys import full_key
from zoneout_core.config.trial import LISTING, TrialConfig, coerce, require
from zoneout_core.errors import ConfigError, PluginError, UnknownName
from zoneout_core.records import Metrics

Sampler = Literal["grid", "tpe", "random", "qmc", "gp"]
Scheduler = Literal["none", "asha", "hyperband", "median"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it becomes the name of a folder
WIDEST_GP = 100_000
"""The widest range of whole numbers for the GP sampler, which tabulates all of them at every
draw."""
RESUMABLE = (
    "num_trials",
    "time_budget_s",
    "lanes",
    "max_concurrent_trials",
    "max_failures",
    "storage",
)
"""Fields that a resumed run may change, because no trial's numbers depend on them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Task + base configuration + space + sampler + scheduler + seeds + budget."""

    name: str
    """The name of the file that defines the sweep, which `sweep run` takes."""
    description: str
    """A line about the sweep, for `sweep ls`."""
    base: TrialConfig
    """What all trials share; the space and the seeds override it."""
    space: Space
    """The settings that vary between trials, and their values. Set it to the name of a file in
    `search_spaces`."""
    seeds: tuple[int, ...] = (0,)
    """Seeds, separated by commas. Every assignment is tried with each of them: several seeds give
    confidence intervals and multiply the number of trials."""
    sampler: Sampler = "grid"
    """How assignments are chosen. `grid`: every combination once; `random`: independently; `qmc`:
    spread evenly over the space; `tpe` and `gp`: near the best ones so far. All are Optuna's."""
    sampler_seed: int = 0
    """Seed of the sampler's random choices. The same seed proposes the same trials again."""
    scheduler: Scheduler = "none"
    """What stops bad trials early. `none`: nothing; `asha` and `hyperband`: only the best third
    continues at each rung of epochs; `median`: a trial worse than the median of the others ends.
    All are Optuna's pruners."""
    grace_period: int = 1
    """Epochs that a trial trains before the scheduler may stop it."""
    num_trials: int = 0
    """Number of trials. 0 means the whole grid; every other sampler needs a number."""
    time_budget_s: float = 0.0
    """Wall time, in seconds, after which the driver saves and stops. 0 sets no limit. A resumed run
    starts with the full budget again."""
    lanes: int = 8
    """Maximum number of trials that train together as lanes of one pack. More lanes use a device
    better and take more memory; with 1, every trial trains alone. No result depends on it."""
    max_concurrent_trials: int = 0
    """Trials that run at the same time, over all devices. 0 means as many as there are lanes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What trains: a GPU where there is one (`auto`), only the CPU, or only a CUDA GPU. GPU and CPU
    results differ by rounding."""
    threads: int = 0
    """CPU threads of each lane server. 0 means one per core. A run records the number when it
    begins, because another number of threads rounds sums differently."""
    checkpoint_epochs: int = 1
    """Epochs between two checkpoints of a trial. A higher number writes less and loses more work in
    a crash. No result depends on it."""
    max_failures: int = 3
    """How often a trial is restarted from its checkpoint after its process or node died."""
    storage: str = field(default="", repr=False)
    """URL of the database that keeps the Optuna study, such as `postgresql://user@host/optuna`.
    Empty keeps it in a file of the run's folder. A password is never written into the
    definition."""
    x_axis: str = "regularizer.zoneout.z_cells"
    """Setting on the horizontal axis of the heatmap; the space must search it over a list of
    values."""
    y_axis: str = "regularizer.zoneout.z_states"
    """Setting on the vertical axis of the heatmap; the space must search it over a list of
    values."""

    def __post_init__(self) -> None:
        for name in _PLAIN:
            object.__setattr__(self, name, _parse(name, getattr(self, name)))
        require_finite(self)
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"A sweep's name is made of letters, digits, _ and -, but is {self.name!r}."
                " Rename it."
            )
        require(
            len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds),
            "seeds",
            self.seeds,
            "distinct",
        )
        require(all(seed >= 0 for seed in self.seeds), "seeds", self.seeds, "at least 0")
        task = tasks.get(self.base.task)
        if self.base.variant and self.base.variant not in task.variants:
            raise UnknownName(f"variant of {task.name}", self.base.variant, task.variants)
        if "task" in self.search_space.keys():
            raise ConfigError(
                "Trials of a sweep are compared, so it has one task. Make a sweep for each task."
            )
        self.space.check(self.base)
        for name in (
            "num_trials",
            "time_budget_s",
            "max_concurrent_trials",
            "threads",
            "max_failures",
            "sampler_seed",
        ):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("lanes", "grace_period", "checkpoint_epochs"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        if self.sampler == "gp":
            self._refuse_wide_ranges()
        if self.sampler == "grid":
            self.search_space.grid()
        else:
            require(
                self.num_trials > 0,
                "num_trials",
                self.num_trials,
                f"above 0 with sampler={self.sampler}, which never ends by itself",
            )

    def _refuse_wide_ranges(self) -> None:
        for part in self.search_space.ranges():
            if part.integer and part.high - part.low > WIDEST_GP:
                raise ConfigError(
                    f"A range of whole numbers must be at most {WIDEST_GP} wide with sampler=gp,"
                    f" which looks at each, but {part.key} ranges from {part.low} to {part.high}."
                    " Narrow it, or choose --set sampler=tpe."
                )

    @property
    def metrics(self) -> Metrics:
        """The metrics that its trials report, and the objective among them."""
        return tasks.get(self.base.task).metrics

    @property
    def search_space(self) -> Space:
        """The space; where there are several seeds, with the seed as the part that varies
        slowest."""
        if len(self.seeds) == 1:
            return self.space
        return Product((Choice("seed", self.seeds), self.space))

    @property
    def max_trials(self) -> int:
        """How many trials the sweep has unless a time budget ends it."""
        if self.sampler != "grid":
            return self.num_trials
        grid_points = len(self.search_space.grid())
        if self.num_trials:
            return min(self.num_trials, grid_points)
        return grid_points

    @property
    def cut(self) -> str:
        """`4 of 9 points of the grid, the first in its order` where `num_trials` cuts the grid;
        otherwise empty."""
        if self.sampler == "grid":
            grid_points = len(self.search_space.grid())
        else:
            grid_points = 0
        if 0 < self.num_trials < grid_points:
            return f"{self.num_trials} of {grid_points} points of the grid, the first in its order"
        return ""

    def trial_config(self, overrides: search_spaces.Overrides) -> TrialConfig:
        """The complete configuration of one trial."""
        return self.base.with_values({"seed": self.seeds[0]} | overrides)

    def with_values(self, values: Mapping[str, object]) -> Self:
        """A copy with fields of the sweep or of its base configuration replaced (`--set
        key=value`).

        Raises `UnknownName` for a key that neither has (with the closest match), and `ConfigError`
        for a value of the wrong type, out of its range, or of a key that the space searches.
        """
        sweep_values = {key: _parse(key, value) for key, value in values.items() if key in SETTABLE}
        trial_values = {key: value for key, value in values.items() if key not in SETTABLE}
        for key in trial_values:
            self._refuse_searched(key)
        return replace(self, base=self.base.with_values(trial_values), **sweep_values)

    def _refuse_searched(self, key: str) -> None:
        try:
            full = full_key(key)
        except UnknownName as error:
            raise UnknownName("setting", key, [*error.known, *SETTABLE], LISTING) from None
        if full == "seed":
            raise ConfigError(
                "Seeds are set for the whole sweep: use --set seeds=0 or --set seeds=0,1,2."
            )
        if full in self.search_space.keys():
            raise ConfigError(
                f"{full} is searched by the space of sweep {self.name}, so it cannot be set. Leave"
                " it out."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain data, from which `from_json` makes an equal sweep. A password in `storage` is left
        out."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain |= {
            "base": self.base.to_json(),
            "space": self.space.to_json(),
            "seeds": list(self.seeds),
        }
        return plain | {"storage": secrets.shown(self.storage)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises `ConfigError` or `UnknownName` unless `data` is a complete, valid definition."""
        known = {f.name for f in fields(cls)}
        for key in data:
            if key not in known:
                raise UnknownName("field of a sweep", key, known)
        missing = sorted({"name", "description", "base", "space"} - set(data))
        if missing:
            raise ConfigError(
                "A definition needs name, description, base and space, but has no"
                f" {', '.join(missing)}."
            )
        values = dict(data) | {
            "base": TrialConfig.from_json(data["base"]),
            "space": search_spaces.from_json(data["space"]),
        }
        return cls(**values)

    def differences(self, other: Self) -> list[str]:
        """The differences from `other` in fields that a resumed run may not change, as `key: old ->
        new`."""
        old, new = _flat(self), _flat(other)
        keys = [key for key in old if key in new]  # each cell has settings of its own
        return [
            f"{key}: {old[key]} -> {new[key]}"
            for key in keys
            if key not in RESUMABLE and old[key] != new[key]
        ]


SETTABLE: tuple[str, ...] = tuple(
    f.name for f in fields(Sweep) if f.name not in ("name", "description", "base")
)
_PLAIN: tuple[str, ...] = tuple(key for key in SETTABLE if key != "space")


def names() -> list[str]:
    """The names of all sweeps, which are the file names of `sweeps.definitions`."""
    return registry.names("sweeps.definitions")


def get(name: str) -> Sweep:
    """The sweep `name`. Raises `UnknownName` with the closest match."""
    make = registry.exported("sweeps.definitions", name, "sweep", "sweep")
    with registry.blaming(f"Sweep {name} cannot be made"):
        sweep = make()
    if not isinstance(sweep, Sweep):
        raise PluginError(f"sweep() of sweep {name} must return a Sweep, but returns {sweep!r}.")
    return sweep


def _parse(key: str, value: object) -> Any:
    if key == "space":
        if isinstance(value, Space):
            return value
        return search_spaces.get(str(value))
    if key == "seeds":
        return _parse_seeds(value)
    if key in ("x_axis", "y_axis"):
        return full_key(str(value))
    if key in ("sampler", "scheduler") and value not in get_args(hints(Sweep)[key]):
        raise UnknownName(key, str(value), get_args(hints(Sweep)[key]))
    return coerce(Sweep, key, value)


def _parse_seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        parts = value.split(",")
    else:
        parts = value
    try:
        return tuple(coerce(TrialConfig, "seed", part) for part in parts)
    except (ConfigError, TypeError):
        raise ConfigError(
            f"seeds must be whole numbers, separated by commas, but is {value!r}. Set it with --set"
            " seeds=0,1,2."
        ) from None


def _flat(sweep: Sweep) -> dict[str, Any]:
    plain = sweep.to_json()
    return {key: value for key, value in plain.items() if key != "base"} | sweep.base.flat()
