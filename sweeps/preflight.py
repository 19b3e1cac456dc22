"""Checks before a run begins, so that a sweep that cannot train here leaves no folder behind."""

import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sweeps.books.run_folder import Home
from sweeps.books.storage import check_storage
from sweeps.definition import Sweep
from sweeps.runner import NO_TRACKING, DriveOptions
from sweeps.tracking.delivery import check_scheme
from zoneout_core import cells, tasks
from zoneout_core.config import parts
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, HomeError
from zoneout_core.tasks import load_data

ROWS = 4
"""Rows of numbers in a checkpoint: the weights, two of the optimizer, the best weights."""
BYTES_A_RECORD = 2_000
"""Bytes that an epoch takes in journal, study and index together."""
MARGIN = 0.8
"""A disk is refused only if it has less than this share of the estimate."""
_CORNERS = 64
_ADDRESS = re.compile(r"(ray://)?[^\s/]+:\d{1,5}")
_NETWORKS = {"addition": 2, "consistency": 0}
"""How many networks a workload trains, where it is not one: addition has an encoder and a decoder,
consistency only a recurrence on two numbers."""


def check(home: Home, sweep: Sweep, drive_options: DriveOptions) -> None:
    """Check that a run of `sweep` in `home` can begin.

    Raises `PluginError` when a regularizer's file is broken; `DataError` when the task's data is
    missing or damaged; `ConfigError` for a device that does not exist, a precision that would be
    emulated, a storage that cannot be opened, or a tracking URI that MLflow does not know; and
    `HomeError` when the disk is too small.
    """
    parts.require_regularizers()
    data = load_data(sweep.base.task, sweep.base.variant, drive_options.data)
    trains_here = drive_options.inline or drive_options.address == "local"
    if sweep.device == "cuda" and trains_here:  # a cluster's nodes have devices of their own
        from sweeps.serving.pack_trainer import choose_device  # torch

        choose_device(sweep.device)
    check_precision(sweep, drive_options)
    if not drive_options.inline:
        _check_address(drive_options.address)
    if drive_options.tracking != NO_TRACKING:
        check_scheme(drive_options.tracking)
    if sweep.storage:
        check_storage(sweep.storage)
    _check_room(home, sweep, data)


def check_precision(sweep: Sweep, drive_options: DriveOptions) -> None:
    """Raises `ConfigError` for a precision that this machine would emulate, if it is to train."""
    if drive_options.force or drive_options.idle:
        return
    trains_here = drive_options.inline or drive_options.address == "local"
    precisions = {config.precision for config in shapes(sweep)}
    if not trains_here or "bfloat16" not in precisions:
        return
    from sweeps.serving.pack_trainer import choose_device  # torch takes a moment to load
    from zoneout_core import kernels

    kernels.check_precision("bfloat16", choose_device(sweep.device))


def checkpoint_bytes(config: TrialConfig, data: Any) -> int:
    """The approximate size of a trial's checkpoint, in bytes, from the parameters of its layers,
    embedding and output layer."""
    networks = _NETWORKS.get(tasks.get(config.task).workload, 1)
    model, cell = config.model, cells.chosen(config)
    symbols = len(getattr(data, "vocabulary", ())) or int(getattr(data, "classes", 0)) or 1
    width = next(iter(cell.sizes(model).values()))
    reads = [model.embedding_size or symbols] + [width] * (model.num_layers - 1)
    numbers = symbols * (model.embedding_size or 0) + width * symbols
    for size in reads:
        for shape in cell.parameters(model, size).values():
            count = 1
            for length in shape:
                count *= length
            numbers += count
    return ROWS * networks * numbers * (8 if config.precision == "float64" else 4)


def _check_address(address: str) -> None:
    """Raises `ConfigError` unless `address` could be that of a Ray cluster."""
    if address not in ("local", "auto") and not _ADDRESS.fullmatch(address):
        raise ConfigError(
            f"--address must be local, auto or HOST:PORT, but is {address!r}. For example:"
            " --address 127.0.0.1:6379"
        )


def _check_room(home: Home, sweep: Sweep, data: Any) -> None:
    """Raises `HomeError` when the home's disk is clearly too small for the sweep.

    Every trial leaves a checkpoint; while it trains it has two, and writes a third.
    """
    size = max(checkpoint_bytes(config, data) for config in shapes(sweep))
    training = min(sweep.max_trials, max(sweep.lanes, sweep.max_concurrent_trials))
    checkpoints = (sweep.max_trials + 2 * training) * size
    records = sweep.max_trials * sweep.base.epochs * BYTES_A_RECORD
    needed = checkpoints + records
    disk = shutil.disk_usage(_existing(home.folder))
    if disk.total == 0:  # not a disk, such as /proc: creating the folder will say why it fails
        return
    if disk.free < MARGIN * needed:
        raise HomeError(
            f"The checkpoints of {sweep.max_trials} trials need about {_gigabytes(needed)} in"
            f" {home.folder}, but its disk has {_gigabytes(disk.free)} free. Make room, choose"
            " another folder with --home DIR, or run fewer trials."
        )


def shapes(sweep: Sweep) -> Iterator[TrialConfig]:
    """Configurations of the space's corners, which may differ in size; at most `_CORNERS`."""
    yield from (
        sweep.trial_config(point) for point in islice(sweep.search_space.corners(), _CORNERS)
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _gigabytes(count: float) -> str:
    if count >= 1e8:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB"
