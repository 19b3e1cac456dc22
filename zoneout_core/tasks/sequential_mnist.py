"""Handwritten digits, read pixel by pixel: Table 2, Figures 5 and 6 of the paper (spec section
5)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoneout_core.data.datafiles import DataFile
from zoneout_core.records import CLASSES
from zoneout_core.tasks import Labelled, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PIXELS = 784
TRAIN = 50_000
"""Images of the training file to train on; the 10,000 after them are valid."""
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def load(data_dir: Path, variant: str) -> Labelled:
    """50,000 images to train on, 10,000 valid, 10,000 test, all in the same order of pixels."""
    import numpy as np

    from zoneout_core.data.vision import torchvision

    mnist = torchvision().datasets.MNIST
    files = [mnist(root=data_dir, train=train, download=False) for train in (True, False)]
    images, test = (
        np.take(file.data.numpy().reshape(-1, PIXELS), order(variant), axis=1) for file in files
    )
    labels, test_labels = (file.targets.numpy().astype(np.uint8) for file in files)
    arrays = {
        "train": images[:TRAIN],
        "valid": images[TRAIN:],
        "test": test,
        "train_labels": labels[:TRAIN],
        "valid_labels": labels[TRAIN:],
        "test_labels": test_labels,
    }
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.tobytes())
    return Labelled(
        name=TASK.name, variant=variant, classes=10, sha256=digest.hexdigest(), **arrays
    )


def order(variant: str) -> npt.NDArray[np.int64]:
    """Which pixel of the 28 x 28, row by row, is read at each of the 784 steps: int64 [784].

    permuted: a true permutation. permuted_code: drawn with repetition, as in the authors' code and
    RBN's before it: 501 distinct pixels, so its errors cannot be compared with others. ordered: row
    by row.
    """
    import numpy as np

    random = np.random.RandomState(1)
    orders: dict[str, Any] = {
        "permuted": lambda: random.permutation(PIXELS),
        "permuted_code": lambda: random.randint(0, PIXELS, PIXELS),
        "ordered": lambda: np.arange(PIXELS),
    }
    indices: npt.NDArray[np.int64] = orders[variant]().astype(np.int64)
    return indices


def _file(name: str, size: int, sha256: str, packed_size: int, packed_sha256: str) -> DataFile:
    addresses = tuple(f"{mirror}{name}.gz" for mirror in MIRRORS)
    path = f"MNIST/raw/{name}"
    archive = DataFile(
        path=f"{path}.gz", bytes=packed_size, sha256=packed_sha256, addresses=addresses
    )
    return DataFile(path=path, bytes=size, sha256=sha256, archive=archive)


TASK = Task(
    name="sequential_mnist",
    description=(
        "Digits read pixel by pixel: 50,000 train, 784 steps, 10 classes (the paper's Table 2,"
        " Figures 5, 6)"
    ),
    variants=("permuted", "permuted_code", "ordered"),
    files=(
        _file(
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        _file(
            "train-labels-idx1-ubyte",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        _file(
            "t10k-images-idx3-ubyte",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        _file(
            "t10k-labels-idx1-ubyte",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    workload="classification",
    metrics=CLASSES,
    settings={
        "hidden_size": 100,
        "batch_size": 100,
        "sequence_length": PIXELS,
        "init": "orthogonal",
        "optimizer": "rmsprop",
        "learning_rate": 0.001,
        "clip_norm": 1.0,
        "epochs": 150,
        "patience": 150,
    },
    load=load,
)
