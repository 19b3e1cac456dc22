"""What is looked at before a run is begun: a sweep that cannot train here leaves no folder
behind."""

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
"""Of an epoch, in journal, study and index together."""
MARGIN = 0.8
"""An estimate refuses only what is clearly too little."""
_CORNERS = 64
_ADDRESS = re.compile(r"(ray://)?[^\s/]+:\d{1,5}")
_NETWORKS = {"addition": 2, "consistency": 0}
"""Of a workload, where it is not one: an encoder and a decoder; two numbers."""


def check(home: Home, sweep: Sweep, drive_options: DriveOptions) -> None:
    """Whether a run of `sweep` in `home` can begin.

    Raises `PluginError` when a regularizer's file is broken, `DataError` unless the task's data is
    there and whole, `ConfigError` for a device that is
    not there, a precision that would be emulated, a storage that cannot be opened and a tracking
    URI that MLflow does not know, `HomeError` for a disk too small.
    """
    parts.require_regularizers()
    data = load_data(sweep.base.task, sweep.base.variant, drive_options.data)
    if sweep.device == "cuda" and (
        drive_options.inline or drive_options.address == "local"
    ):  # a cluster's nodes have their own
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
    """Raises `ConfigError` for a precision that this machine would emulate, where it is the one
    that trains."""
    trains_here = (
        drive_options.inline or drive_options.address == "local"
    ) and not drive_options.idle
    precisions = {config.precision for config in shapes(sweep)}
    if drive_options.force or not trains_here or "bfloat16" not in precisions:
        return
    from sweeps.serving.pack_trainer import choose_device  # torch takes a moment to load
    from zoneout_core import kernels

    kernels.check_precision("bfloat16", choose_device(sweep.device))


def checkpoint_bytes(config: TrialConfig, data: Any) -> int:
    """About how large a trial's checkpoint is: the parameters of its layers and of what it reads
    and puts out."""
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
    """Raises `ConfigError` unless it could be that of a Ray."""
    if address not in ("local", "auto") and not _ADDRESS.fullmatch(address):
        raise ConfigError(
            f"--address must be local, auto or HOST:PORT, but is {address!r}. For example:"
            " --address 127.0.0.1:6379"
        )


def _check_room(home: Home, sweep: Sweep, data: Any) -> None:
    """Every trial leaves a checkpoint; one that trains has two, and writes a third."""
    size = max(checkpoint_bytes(config, data) for config in shapes(sweep))
    twice = min(sweep.max_trials, max(sweep.lanes, sweep.max_concurrent_trials))
    need = (
        sweep.max_trials + 2 * twice
    ) * size + sweep.max_trials * sweep.base.epochs * BYTES_A_RECORD
    disk = shutil.disk_usage(_existing(home.folder))
    if disk.total == 0:  # no disk, such as /proc: making the folder says why not
        return
    free = disk.free
    if free < MARGIN * need:
        raise HomeError(
            f"The checkpoints of {sweep.max_trials} trials need about {_gigabytes(need)} in"
            f" {home.folder}, but its disk has {_gigabytes(free)} free. Make room, choose another"
            " folder with --home DIR, or run fewer trials."
        )


def shapes(sweep: Sweep) -> Iterator[TrialConfig]:
    """Configurations that may differ in size."""
    yield from (
        sweep.trial_config(point) for point in islice(sweep.search_space.corners(), _CORNERS)
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _gigabytes(count: float) -> str:
    if count >= 1e8:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB"
