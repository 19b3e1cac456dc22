"""A lane on disk: its newest checkpoint and the one before. No pickle.

    lane.json                    written last, by an atomic rename: what the newest checkpoint is
    lane-before.json             what `lane.json` said before; gone once the trial is complete
    lane-<sha256>.safetensors    the tensors of one of them, named by their content

A process killed at any instant, or a disk that fills up, leaves the newest checkpoint as it was.
Every byte of these files is covered by a checksum, so that damage is found when they are read:
`restore` then takes the one before.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
from torch import Tensor

from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError, ConfigError, UnknownName
from zoneout_core.formats import FORMATS
from zoneout_core.records import EpochRecord

INDEX = "lane.json"
FORMAT = FORMATS[INDEX]
BEFORE = "lane-before.json"
TENSORS = ("weights", "m", "v", "best")
FULL = (errno.ENOSPC, errno.EDQUOT)
REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space or raise the quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
}


@dataclass(kw_only=True, slots=True)
class LaneState:
    """All that a lane is between two updates; with the text, all that its future depends on.

    Tensors are rows of P numbers (`zoneout_core.network.layout.Layout`) on the CPU. The position in
    the data and all random streams follow from `step`.
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
    """The step at which its present parameters were drawn: above 0 only after a restart (spec
    section 6)."""
    restarts: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Of the updates of the epoch under way: what the workload told, by name, and the gradient
    norms."""
    seconds: float = 0.0
    """Wall time of the epoch under way."""
    best: Tensor | None = None
    """Parameters with the lowest validation value; None before the first epoch's end."""
    records: list[EpochRecord] = field(default_factory=list)
    """One for every epoch that ended."""


def save(folder: Path, state: LaneState) -> None:
    """Make `state` the newest checkpoint in `folder`, which is created if need be; the newest
    becomes the one before.

    Raises `CheckpointError` when it cannot be written. The newest is then unchanged; the one before
    makes room where the disk is full.
    """
    tensors = {name: row for name in TENSORS if (row := getattr(state, name)) is not None}
    payload = safetensors.torch.save({name: row.contiguous() for name, row in tensors.items()})
    digest = hashlib.sha256(payload).hexdigest()
    index = seal(
        {
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
            "records": msgspec.to_builtins(state.records),
        }
    )
    try:
        with contextlib.suppress(FileExistsError):
            folder.parent.mkdir()  # not its parents: a deleted run does not come back
        folder.mkdir(exist_ok=True)
        try:
            _write(folder, state, payload, index)
        except OSError as error:
            if error.errno not in FULL or not (folder / BEFORE).exists():
                raise
            (folder / BEFORE).unlink()
            _remove_leftovers(folder)
            _write(folder, state, payload, index)
        if (
            state.records and state.records[-1].final is not None
        ):  # complete: nothing goes on from here
            (folder / BEFORE).unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(_unwritable(folder, len(payload), error)) from error
    finally:
        _remove_leftovers(folder)


def load(folder: Path, name: str = INDEX) -> LaneState | None:
    """The newest checkpoint in `folder`, or with `BEFORE` the one before; None when there is none.

    Raises `CheckpointError` naming the file, what was expected and what was found, when it is
    damaged.
    """
    index = _read_index(folder / name)
    if index is None:
        return None
    try:
        return LaneState(
            trial=index["trial"],
            config=TrialConfig.from_json(index["config"]),
            step=index["step"],
            born=index["born"],
            restarts=index["restarts"],
            sums=index["sums"],
            seconds=index["seconds"],
            records=msgspec.convert(index["records"], list[EpochRecord]),
            **_read_tensors(folder, index["sha256"]),
        )
    except (TypeError, KeyError, ConfigError, UnknownName, msgspec.ValidationError) as error:
        raise _damaged(
            folder / name, f"the fields of format {FORMAT}", f"{type(error).__name__}: {error}"
        ) from error


def restore(
    folder: Path, check: Callable[[LaneState], None] = lambda state: None
) -> tuple[LaneState | None, list[CheckpointError]]:
    """The newest checkpoint in `folder` that is whole and passes `check`, and what is wrong with
    those passed over.

    None: there is none, and the trial begins anew. `check` raises `CheckpointError` for one that is
    of no use.
    """
    wrong: list[CheckpointError] = []
    for name in (INDEX, BEFORE):
        try:
            state = load(folder, name)
            if state is not None:
                check(state)
                return state, wrong
            if (
                folder / BEFORE
            ).exists():  # written after the first `INDEX`, which is replaced and never taken away
                raise _damaged(folder / name, "the newest checkpoint", "no such file")
        except CheckpointError as error:
            wrong.append(error)
    return None, wrong


def seal(index: dict[str, Any]) -> bytes:
    """An index as its file holds it: JSON whose first line is the checksum of all that follows
    it."""
    rest = json.dumps(index, indent=1, allow_nan=False).encode().removeprefix(b"{")
    return _head(rest) + rest


def _head(rest: bytes) -> bytes:
    return b'{\n "checksum": "' + hashlib.sha256(rest).hexdigest().encode() + b'",'


def _read_index(path: Path) -> dict[str, Any] | None:
    """What an index says, or None when there is no such file. Raises `CheckpointError` when it is
    damaged."""
    try:
        content = path.read_bytes()
        index: dict[str, Any] = json.loads(content)
        found = index["format"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(
            path, "a JSON object with a format number", f"{type(error).__name__}: {error}"
        ) from error
    if found != FORMAT:
        raise _damaged(path, f"format {FORMAT}", f"format {found!r}")
    head = _head(content[len(_head(b"")) :])
    if not content.startswith(head):
        raise _damaged(path, f"checksum {head[-66:-2].decode()}", repr(index.get("checksum")))
    if not re.fullmatch(
        "[0-9a-f]{64}", str(index.get("sha256"))
    ):  # it names a file, which lies in this folder
        raise _damaged(path, "a SHA-256 in hexadecimal digits", repr(index.get("sha256")))
    return index


def _tensor_file(digest: str) -> str:
    return f"lane-{digest[:16]}.safetensors"


def _read_tensors(folder: Path, sha256: str) -> dict[str, Tensor]:
    path = folder / _tensor_file(sha256)
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"the tensors with SHA-256 {sha256}", f"{error.strerror}") from error
    digest = hashlib.sha256(payload).hexdigest()
    if digest != sha256:
        raise _damaged(path, f"SHA-256 {sha256}", f"{digest} ({len(payload)} bytes)")
    return safetensors.torch.load(payload)


def _write(folder: Path, state: LaneState, payload: bytes, index: bytes) -> None:
    """Write a whole checkpoint, its index last, after what that index said became the one
    before."""
    _replace(folder / _tensor_file(hashlib.sha256(payload).hexdigest()), payload)
    with contextlib.suppress(
        CheckpointError
    ):  # a damaged one must not take the place of a sound one
        newest = _read_index(folder / INDEX)
        if newest is not None and newest["step"] < state.step and newest["trial"] == state.trial:
            _replace(folder / BEFORE, (folder / INDEX).read_bytes())
    _replace(folder / INDEX, index)


def _replace(path: Path, payload: bytes) -> None:
    """Write `path` so that a crash at any instant leaves either the old file or the whole new one,
    on the disk."""
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
    """Delete what earlier checkpoints, finished or not, left behind; what resists is left to the
    next time."""
    try:
        indices = [
            index for name in (INDEX, BEFORE) if (index := _read_index(folder / name)) is not None
        ]
    except CheckpointError:  # it might be read again some day; soon a sound one takes its place
        return
    keep = {INDEX, BEFORE, *(_tensor_file(index["sha256"]) for index in indices)}
    for path in folder.glob("lane*"):
        if path.name not in keep:
            with contextlib.suppress(OSError):
                path.unlink()


def _unwritable(folder: Path, needed: int, error: OSError) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    before, _ = restore(folder)
    if before:
        kept = f"the checkpoint of step {before.step} is intact"
    else:
        kept = "there was no checkpoint before it"
    remedy = REMEDIES.get(error.errno or 0, "Make the folder writable")
    return (
        f"The checkpoint in {folder} could not be written ({error.strerror}): it needs {needed}"
        f" bytes, {free} are free; {kept}. {remedy} and run `sweep resume`."
    )


def _damaged(path: Path, expected: str, found: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: expected {expected}, found {found}.")
