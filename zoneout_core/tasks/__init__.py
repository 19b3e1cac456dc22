"""Tasks: what is trained on. To add a task, add a file here that exports `TASK`.

Their metadata can be imported without numpy and torch; numpy is loaded with a corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from zoneout_core.config import registry
from zoneout_core.config.trial import TrialConfig, require
from zoneout_core.data import datafiles
from zoneout_core.errors import PluginError, UnknownName
from zoneout_core.records import CHARACTERS, Metrics

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Tokens = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Corpus:
    """A text in three disjoint parts, as token ids below `len(vocabulary)`."""

    name: str
    """The task's name."""
    variant: str
    """Never empty: the task's default is filled in."""
    train: Tokens
    """Ids [N] of the smallest unsigned type that holds V of them, like the two below."""
    valid: Tokens
    test: Tokens
    vocabulary: tuple[str, ...]
    """V characters or words, sorted by code point."""
    sha256: str
    """Hash of the vocabulary and of all three complete parts, recorded on every run; a
    `train_fraction` does not change it."""

    def fraction(self, share: float) -> Self:
        """The same corpus with only the first `share` of the training text; valid and test stay
        complete.

        Raises `ConfigError` unless 0 < share <= 1.
        """
        require(0.0 < share <= 1.0, "train_fraction", share, "above 0 and at most 1")
        return replace(self, train=self.train[: int(len(self.train) * share)])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labelled:
    """Sequences of bytes of one length T with a class each, in three disjoint parts."""

    name: str
    variant: str
    train: npt.NDArray[np.uint8]
    """[N, T], like the two below. A network reads them scaled to 0..1, by `SCALE`."""
    valid: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    """[N] below `classes`, like the two below."""
    valid_labels: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]
    classes: int
    sha256: str
    """Hash of all six complete arrays, recorded on every run; a `train_fraction` does not change
    it."""

    SCALE: ClassVar[float] = 1 / 255

    def fraction(self, share: float) -> Self:
        """The same with only the first `share` of the training examples. Raises `ConfigError`
        unless 0 < share <= 1."""
        require(0.0 < share <= 1.0, "train_fraction", share, "above 0 and at most 1")
        count = int(len(self.train) * share)
        return replace(self, train=self.train[:count], train_labels=self.train_labels[:count])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Generated:
    """Data of a task that draws its examples. There is no end of them, and so no fraction to
    take."""

    name: str
    variant: str
    sha256: str
    """Hash of what decides the examples; recorded on every run."""

    def fraction(self, share: float) -> Self:
        """Itself. Raises `ConfigError` unless `share` is 1."""
        require(
            share == 1.0,
            "train_fraction",
            share,
            f"1 with task={self.name}, which draws its examples",
        )
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Metadata of a task, and how to load it."""

    name: str
    """Its file's name."""
    description: str
    """One line."""
    variants: tuple[str, ...]
    """Forms of its data; the first is the default."""
    files: tuple[datafiles.DataFile, ...] = ()
    """The files that `sweep data fetch NAME` fetches; empty when the task needs none."""
    workload: str = "language"
    """A file name of `zoneout_core.training.workloads`: how the task is trained and evaluated."""
    metrics: Metrics = CHARACTERS
    """The metrics that its trials report."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """The paper's configuration of this task, where it differs from the defaults: values by
    configuration key."""
    load: Callable[[Path, str], Any]
    """(data folder, variant) -> its data. Use `load_data`, which checks files and variant first."""

    def config(self, **values: Any) -> TrialConfig:
        """The paper's configuration of this task with these values, by unambiguous field name. A
        cell other than the paper's starts from its own defaults."""
        paper = TrialConfig().with_values({"task": self.name} | dict(self.settings))
        return paper.with_values(values)


def names() -> list[str]:
    """All tasks, sorted."""
    return registry.names(__name__)


def get(name: str) -> Task:
    """The task in file `name`. Raises `UnknownName`, and `PluginError` for a broken file."""
    task = registry.exported(__name__, name, "task", "TASK")
    if not isinstance(task, Task):
        raise PluginError(
            f"TASK of task {name} must be a zoneout_core.tasks.Task, but is {task!r}. Make it one."
        )
    return task


def text_corpus(name: str, variant: str, train: str, valid: str, test: str) -> Corpus:
    """The corpus of three texts, by character, as `load` of a task returns it. Together they have
    at most 256 different characters."""
    from zoneout_core.tasks import _text

    return _text.corpus(name, variant, train, valid, test)


def plugins_of(config: TrialConfig) -> dict[str, str]:
    """The source hash of each plug-in that decides the numbers of a trial, by its name, such as
    `cells/mine`."""
    task = get(config.task)
    used = {
        "zoneout_core.tasks": [config.task],
        "zoneout_core.training.workloads": [task.workload],
        "zoneout_core.cells": [config.model.cell],
        "zoneout_core.regularizers": [
            name for name, part in config.regularizer.items() if part.active
        ],
    }
    hashes: dict[str, str] = {}
    for package, names in used.items():
        for name in set(registry.plugged(package)).intersection(names):
            origin = registry.origins(package)[name]
            hashes[f"{registry.KINDS[package]}/{name}"] = origin.sha256
    return hashes


def load_data(name: str, variant: str, data_dir: Path) -> Any:
    """The data of task `name`; an empty `variant` means the task's default.

    Raises `UnknownName` for a task or variant that does not exist, and `DataError` for a file that
    is missing, truncated or has other content (sizes and SHA-256 are checked each time).
    """
    task = get(name)
    variant = variant or task.variants[0]
    if variant not in task.variants:
        raise UnknownName(f"variant of {name}", variant, task.variants)
    datafiles.verify(name, task.files, data_dir)
    return task.load(data_dir, variant)


load_corpus = load_data
