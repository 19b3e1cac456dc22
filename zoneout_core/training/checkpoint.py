"""A lane on disk: its newest checkpoint and the previous one. No pickle.

    lane.json                    the index of the newest checkpoint; written last, by a rename
    lane-before.json             the previous index; deleted once the trial is complete
    lane-<sha256>.safetensors    the tensors of one of them, named by their content

A process killed at any instant, or a full disk, leaves the newest checkpoint unchanged. Checksums
cover every byte of these files, so damage is detected when they are read: `restore` then takes the
previous checkpoint.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import safetensors.torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError, ConfigError, UnknownName
from zoneout_core.records import EpochRecord
from zoneout_core.training.checkpoint_index import FORMAT, INDEX, Index, damaged, read_index, seal
from zoneout_core.training.lane_state import LaneState

BEFORE = "lane-before.json"
TENSORS = ("weights", "m", "v", "best")
FULL = (errno.ENOSPC, errno.EDQUOT)
REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space or raise the quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
}


def save(folder: Path, state: LaneState) -> None:
    """Make `state` the newest checkpoint in `folder`, which is created if it does not exist. The
    newest becomes the previous one.

    Raises `CheckpointError` when it cannot be written. The newest is then unchanged; the previous
    one is deleted if the disk is full.
    """
    tensors = {name: row for name in TENSORS if (row := getattr(state, name)) is not None}
    payload = safetensors.torch.save({name: row.contiguous() for name, row in tensors.items()})
    digest = hashlib.sha256(payload).hexdigest()
    index = seal(
        {
            "format": FORMAT,
            "trial": state.trial,
            "config": state.config.to_json(),
            "updates": state.updates,
            "restarted_at": state.restarted_at,
            "restarts": state.restarts,
            "sums": state.sums,
            "seconds": state.seconds,
            "tensors": _tensor_file(digest),
            "sha256": digest,
            "records": msgspec.to_builtins(state.records),
        }
    )
    try:
        with contextlib.suppress(FileExistsError):
            folder.parent.mkdir()  # not its parents: a deleted run must not come back
        folder.mkdir(exist_ok=True)
        try:
            _write(folder, state, payload, index)
        except OSError as error:
            if error.errno not in FULL or not (folder / BEFORE).exists():
                raise
            (folder / BEFORE).unlink()
            _remove_leftovers(folder)
            _write(folder, state, payload, index)
        # No training continues from a complete trial.
        if state.records and state.records[-1].final is not None:
            (folder / BEFORE).unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(_unwritable(folder, len(payload), error)) from error
    finally:
        _remove_leftovers(folder)


def load(folder: Path, name: str = INDEX) -> LaneState | None:
    """The newest checkpoint in `folder`, or the previous one with `BEFORE`; None if it does not
    exist.

    Raises `CheckpointError` when it is damaged, naming the file and its expected and actual
    content.
    """
    index = read_index(folder / name)
    if index is None:
        return None
    try:
        return LaneState(
            trial=index["trial"],
            config=TrialConfig.from_json(index["config"]),
            updates=index["updates"],
            restarted_at=index["restarted_at"],
            restarts=index["restarts"],
            sums=index["sums"],
            seconds=index["seconds"],
            records=msgspec.convert(index["records"], list[EpochRecord]),
            **_read_tensors(folder, index["sha256"]),
        )
    except (TypeError, KeyError, ConfigError, UnknownName, msgspec.ValidationError) as error:
        raise damaged(
            folder / name, f"the fields of format {FORMAT}", f"{type(error).__name__}: {error}"
        ) from error


def restore(
    folder: Path, check: Callable[[LaneState], None] = lambda state: None
) -> tuple[LaneState | None, list[CheckpointError]]:
    """The newest checkpoint in `folder` that is intact and passes `check`, and the errors of newer
    ones.

    None if there is none: the trial starts over. `check` raises `CheckpointError` for a checkpoint
    that cannot be used.
    """
    errors: list[CheckpointError] = []
    for name in (INDEX, BEFORE):
        try:
            state = load(folder, name)
            if state is not None:
                check(state)
                return state, errors
            # `BEFORE` is written after the first `INDEX`, which is replaced but never deleted.
            if (folder / BEFORE).exists():
                raise damaged(folder / name, "the newest checkpoint", "no such file")
        except CheckpointError as error:
            errors.append(error)
    return None, errors


def _tensor_file(digest: str) -> str:
    return f"lane-{digest[:16]}.safetensors"


def _read_tensors(folder: Path, sha256: str) -> dict[str, Tensor]:
    path = folder / _tensor_file(sha256)
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise damaged(path, f"the tensors with SHA-256 {sha256}", f"{error.strerror}") from error
    digest = hashlib.sha256(payload).hexdigest()
    if digest != sha256:
        raise damaged(path, f"SHA-256 {sha256}", f"{digest} ({len(payload)} bytes)")
    return safetensors.torch.load(payload)


def _write(folder: Path, state: LaneState, payload: bytes, index: bytes) -> None:
    """Write a checkpoint, its index last. The existing index becomes the previous one."""
    _replace(folder / _tensor_file(hashlib.sha256(payload).hexdigest()), payload)
    # A damaged index must not replace an intact one.
    with contextlib.suppress(CheckpointError):
        newest = read_index(folder / INDEX)
        if newest is not None and _is_before(newest, state):
            _replace(folder / BEFORE, (folder / INDEX).read_bytes())
    _replace(folder / INDEX, index)


def _is_before(index: Index, state: LaneState) -> bool:
    """Whether an index is of an earlier checkpoint of the same trial."""
    updates: int = index["updates"]
    return index["trial"] == state.trial and updates < state.updates


def _replace(path: Path, payload: bytes) -> None:
    """Write `path` so that a crash at any instant leaves either the old file or the complete new
    one on the disk."""
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


def _remove_leftovers(folder: Path) -> None:
    """Delete the files that earlier checkpoints, finished or not, left behind. Files that cannot be
    deleted are tried again next time."""
    try:
        indices = [read_index(folder / name) for name in (INDEX, BEFORE)]
    except CheckpointError:  # an intact index soon replaces the damaged one
        return
    keep = {INDEX, BEFORE, *(_tensor_file(index["sha256"]) for index in indices if index)}
    for path in folder.glob("lane*"):
        if path.name not in keep:
            with contextlib.suppress(OSError):
                path.unlink()


def _unwritable(folder: Path, needed: int, error: OSError) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    previous, _ = restore(folder)
    consequence = "there was no checkpoint before it"
    if previous:
        consequence = f"the checkpoint of update {previous.updates} is intact"
    remedy = REMEDIES.get(error.errno or 0, "Make the folder writable")
    return (
        f"The checkpoint in {folder} could not be written ({error.strerror}): it needs {needed}"
        f" bytes, {free} are free; {consequence}. {remedy} and run `sweep resume`."
    )
