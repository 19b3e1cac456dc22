"""The index of a checkpoint: a JSON file whose first field is the checksum of all that follows."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from zoneout_core.errors import CheckpointError
from zoneout_core.formats import FORMATS

INDEX = "lane.json"
FORMAT = FORMATS[INDEX]


Index = dict[str, Any]
"""The fields of an index, as JSON has them."""


def seal(index: Index) -> bytes:
    """The content of an index file."""
    rest = json.dumps(index, indent=1, allow_nan=False).encode().removeprefix(b"{")
    return _head(rest) + rest


def _head(rest: bytes) -> bytes:
    return b'{\n "checksum": "' + hashlib.sha256(rest).hexdigest().encode() + b'",'


def read_index(path: Path) -> Index | None:
    """The content of an index; None if the file does not exist. Raises `CheckpointError` when it is
    damaged."""
    try:
        content = path.read_bytes()
        index: Index = json.loads(content)
        number = index["format"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(
            path, "a JSON object with a format number", f"{type(error).__name__}: {error}"
        ) from error
    if number != FORMAT:
        raise damaged(path, f"format {FORMAT}", f"format {number!r}")
    head = _head(content[len(_head(b"")) :])
    if not content.startswith(head):
        raise damaged(path, f"checksum {head[-66:-2].decode()}", repr(index.get("checksum")))
    # The digest names a file, which must lie in this folder.
    if not re.fullmatch("[0-9a-f]{64}", str(index.get("sha256"))):
        raise damaged(path, "a SHA-256 in hexadecimal digits", repr(index.get("sha256")))
    return index


def damaged(path: Path, expected: str, actual: str) -> CheckpointError:
    """The error for a file whose content is not what was written."""
    return CheckpointError(f"{path} is damaged: expected {expected}, found {actual}.")
