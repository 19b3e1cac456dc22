"""The rules for every task."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance import subjects
from zoneout_core.conformance.packs import admitted
from zoneout_core.errors import ConfigError
from zoneout_core.tasks import Corpus, Labelled
from zoneout_core.training import workloads

NAMES = subjects("zoneout_core.tasks")
CARRIED = [
    (name, variant)
    for name in NAMES
    if not tasks.get(name).files
    for variant in tasks.get(name).variants
]
WINDOW = 200
REPEATED = 0.02
"""Share of held-out windows that may occur in the other part: PTB repeats tables of interest rates
every day."""

every_task = pytest.mark.parametrize("name", NAMES)


@every_task
def test_its_metadata_are_whole(name: str) -> None:
    """TASK is named after its file, has a description in one line and variants with distinct names.
    Its data files have relative paths, a SHA-256 each and https addresses."""
    task = tasks.get(name)
    assert task.name == name
    assert task.description
    assert "\n" not in task.description
    assert task.variants
    assert all(task.variants), "the empty variant means the default"
    assert len(set(task.variants)) == len(task.variants)
    for file in task.files:
        assert not Path(file.path).is_absolute()
        assert len(file.sha256) == 64
        fetched = file.archive or file
        assert len(fetched.sha256) == 64
        # The other addresses may be insecure, since the hash is checked.
        assert fetched.addresses[0].startswith("https://")
        assert all(address.endswith(fetched.name) for address in fetched.addresses)


@every_task
def test_it_configures_itself_and_its_workload_exists(name: str) -> None:
    """A configuration accepts `settings`, and `workload` is the name of a workload."""
    task = tasks.get(name)
    config = task.config(seed=7, label="a row")
    assert (config.task, config.seed, config.label) == (name, 7, "a row")
    for key, value in task.settings.items():
        assert config.value(key) == value, key
    assert TrialConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert task.workload in workloads.names()


@pytest.mark.parametrize(("name", "variant"), CARRIED)
def test_a_task_without_files_loads_from_nothing(name: str, variant: str, tmp_path: Path) -> None:
    """`load` of a task without files needs no folder, and gives the same data each time: see
    `check_data`."""
    check_data(name, variant, tmp_path / "not there")


@pytest.mark.parametrize("name", sorted({name for name, _ in CARRIED}))
def test_variants_are_different_data_and_the_first_is_the_default(
    name: str, tmp_path: Path
) -> None:
    """Each variant has other data, with another SHA-256. The empty variant means the first."""
    variants = tasks.get(name).variants
    digests = [tasks.load_data(name, variant, tmp_path).sha256 for variant in variants]
    assert len(set(digests)) == len(variants)
    default = tasks.load_data(name, "", tmp_path)
    assert (default.variant, default.sha256) == (variants[0], digests[0])


def check_data(name: str, variant: str, folder: Path) -> Any:
    """Return the data of a task after checking what all data promise: a name, a variant, a SHA-256
    of the content, and a `fraction` that refuses shares outside 0 < share <= 1."""
    data = tasks.load_data(name, variant, folder)
    assert (data.name, data.variant) == (name, variant)
    assert len(data.sha256) == 64
    assert tasks.load_data(name, variant, folder).sha256 == data.sha256
    assert data.fraction(1.0).sha256 == data.sha256
    for share in (0.0, 1.1):
        with pytest.raises(ConfigError):
            data.fraction(share)
    if isinstance(data, Corpus):
        check_corpus(data)
    elif isinstance(data, Labelled):
        check_labelled(data)
    return data


def check_corpus(corpus: Corpus) -> None:
    """The vocabulary is sorted; the parts have the smallest unsigned type, and none repeats
    another."""
    assert list(corpus.vocabulary) == sorted(set(corpus.vocabulary))
    for part in (corpus.train, corpus.valid, corpus.test):
        assert part.dtype == np.min_scalar_type(len(corpus.vocabulary) - 1)
        assert part.ndim == 1
        assert len(part) >= 2
        assert part.max() < len(corpus.vocabulary)
    if len(corpus.vocabulary) > 256:
        return  # a vocabulary of words
    for seen, held_out in (("train", "valid"), ("train", "test"), ("valid", "test")):
        seen_text = text(corpus, seen)
        held_out_text = text(corpus, held_out)
        starts = range(0, len(held_out_text) - WINDOW, 10 * WINDOW)
        windows = [held_out_text[start : start + WINDOW] for start in starts]
        assert sum(window in seen_text for window in windows) <= REPEATED * len(windows), (
            f"{held_out} repeats {seen}"
        )


def text(corpus: Corpus, part: str) -> str:
    """A part as text."""
    return "".join(np.array(corpus.vocabulary)[getattr(corpus, part)])


def check_labelled(data: Labelled) -> None:
    """The sequences are contiguous bytes of one length, and every part has every class."""
    for part, labels in (
        (data.train, data.train_labels),
        (data.valid, data.valid_labels),
        (data.test, data.test_labels),
    ):
        assert part.dtype == labels.dtype == np.uint8
        assert part.flags.c_contiguous
        assert len(part) == len(labels)
        assert part.shape[1] == data.train.shape[1]
        assert sorted(set(labels.tolist())) == list(range(data.classes))
    half = data.fraction(0.5)
    assert len(half.train) == len(half.train_labels) == len(data.train) // 2
    assert half.valid is data.valid


@pytest.mark.parametrize("name", sorted({name for name, _ in CARRIED}))
def test_a_lane_of_its_workload_is_what_it_is_alone(name: str, tmp_path: Path) -> None:
    """What a workload computes for a lane depends on that lane alone, to the bit: in a pack of two,
    a lane has the weights that it has alone."""
    data = tasks.load_data(name, "", tmp_path)
    task = tasks.get(name)
    hidden = task.settings.get("hidden_size", 4)  # a task may work with one size only
    configs = [task.config(hidden_size=hidden, seed=seed) for seed in (0, 1)]
    packs = [admitted(configs, data), *(admitted([config], data) for config in configs)]
    for pack in packs:
        for _ in range(3):
            pack.update()
    together, *solos = packs
    for trial, solo in enumerate(solos):
        assert torch.equal(together.state(trial).weights, solo.state(0).weights)
