"""A lane on disk: one JSON file that names one tensor file, replaced together or not at all. No pickle.

    lane.json                          written last, by an atomic rename: the checkpoint is what it says
    lane-<sha256>.safetensors          named by its content, so that an old and a new one never share a name

A process killed at any instant, or a disk that fills up, leaves the previous checkpoint as it was.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
from torch import Tensor

from zoneout_core.config import TrialConfig
from zoneout_core.errors import CheckpointError, ConfigError, UnknownName
from zoneout_core.records import EpochRecord

FORMAT = 2
INDEX = "lane.json"
TENSORS = ("weights", "m", "v", "best")
REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space or raise the quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
}


@dataclass(kw_only=True, slots=True)
class LaneState:
    """All that a lane is between two updates; with the text, all that its future depends on.

    Tensors are rows of P numbers (`zoneout_core.layout.Layout`) on the CPU. The position in the data and all random
    streams follow from `step`.
    """

    trial: int
    config: TrialConfig
    step: int
    """Updates made."""
    weights: Tensor
    m: Tensor
    """Adam's mean of the gradients."""
    v: Tensor
    """Adam's, or RMSProp's, mean of their squares."""
    born: int = 0
    """The step at which its present parameters were drawn: above 0 only after a restart (spec section 6)."""
    restarts: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Of the updates of the epoch under way: what the workload told, by name, and the gradient norms."""
    seconds: float = 0.0
    """Wall time of the epoch under way."""
    best: Tensor | None = None
    """Parameters with the lowest validation value; None before the first epoch's end."""
    records: list[EpochRecord] = field(default_factory=list)
    """One for every epoch that ended."""


def save(folder: Path, state: LaneState) -> None:
    """Make `state` the checkpoint in `folder`, which is created if need be.

    Raises `CheckpointError` when it cannot be written (a full disk); what `folder` held before is then unchanged.
    """
    tensors = {name: row for name in TENSORS if (row := getattr(state, name)) is not None}
    payload = safetensors.torch.save({name: row.contiguous() for name, row in tensors.items()})
    digest = hashlib.sha256(payload).hexdigest()
    index = {
        "format": FORMAT,
        "trial": state.trial,
        "config": state.config.to_json(),
        "step": state.step,
        "born": state.born,
        "restarts": state.restarts,
        "sums": state.sums,
        "seconds": state.seconds,
        "tensors": _tensor_file(digest),
        "sha256": digest,
        "records": [record.to_json() for record in state.records],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / _tensor_file(digest), payload)
        _replace(folder / INDEX, json.dumps(index, indent=1, allow_nan=False).encode())
    except OSError as error:
        raise CheckpointError(_unwritable(folder, len(payload), error)) from error
    _remove_leftovers(folder, keep=_tensor_file(digest))


def load(folder: Path) -> LaneState | None:
    """The checkpoint in `folder`, or None when none was ever completed there.

    Raises `CheckpointError` naming the file, what was expected and what was found, when it is damaged.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_bytes())
        found = index["format"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, "a JSON object with a format number", f"{type(error).__name__}: {error}") from error
    if found != FORMAT:
        raise _damaged(path, f"format {FORMAT}", f"format {found!r}")
    named = _tensor_file(str(index.get("sha256")))  # a name made elsewhere might lead out of the folder
    if "/" in named or index.get("tensors") != named:
        raise _damaged(path, f"the tensors' file named {named}", repr(index.get("tensors")))
    try:
        return LaneState(
            trial=index["trial"],
            config=TrialConfig.from_json(index["config"]),
            step=index["step"],
            born=index["born"],
            restarts=index["restarts"],
            sums=index["sums"],
            seconds=index["seconds"],
            records=[EpochRecord.from_json(record) for record in index["records"]],
            **_read_tensors(folder / index["tensors"], index["sha256"]),
        )
    except (TypeError, KeyError, ConfigError, UnknownName) as error:
        raise _damaged(path, f"the fields of format {FORMAT}", f"{type(error).__name__}: {error}") from error


def _tensor_file(digest: str) -> str:
    return f"lane-{digest[:16]}.safetensors"


def _read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"the tensors with SHA-256 {sha256}", f"{error.strerror}") from error
    digest = hashlib.sha256(payload).hexdigest()
    if digest != sha256:
        raise _damaged(path, f"SHA-256 {sha256}", f"{digest} ({len(payload)} bytes)")
    return safetensors.torch.load(payload)


def _replace(path: Path, payload: bytes) -> None:
    """Write `path` so that a crash at any instant leaves either the old file or the whole new one, on the disk."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path, keep: str) -> None:
    """Delete what earlier checkpoints, finished or not, left behind; what resists is left to the next time."""
    for path in folder.glob("lane*"):
        if path.name not in (INDEX, keep):
            with contextlib.suppress(OSError):
                path.unlink()


def _unwritable(folder: Path, needed: int, error: OSError) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    try:
        before = load(folder)
    except CheckpointError:
        before = None
    kept = f"the checkpoint of step {before.step} is intact" if before else "there was no checkpoint before it"
    remedy = REMEDIES.get(error.errno or 0, "Make the folder writable")
    return (
        f"The checkpoint in {folder} could not be written ({error.strerror}): it needs {needed} bytes, {free} are "
        f"free; {kept}. {remedy} and run `sweep resume`."
    )


def _damaged(path: Path, expected: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: expected {expected}, found {found}. "
        f"Delete the folder {path.parent} to train this trial again from its start."
    )
