"""Seals: a line or a file of a run ends with the checksum of what it says, so that damage is seen
and never believed.

    {"event":"end", ... ,"crc32":"9f2c01ab"}       CRC-32 of the bytes before its comma
    {"format": 2, ... , "crc32": "9f2c01ab"}   of a file: its compact JSON, however indented

A checksum finds every flipped bit. It is no signature: whoever edits a file on purpose can seal it
again.
"""

import json
import zlib
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

FORMAT = 2
"""Of the files of a run. Version 0.1 had format 1, without checksums."""
KEY = "crc32"
_TAIL = len(f',"{KEY}":"00000000"}}')


def checksum(data: bytes) -> str:
    """CRC-32 as eight hexadecimal digits."""
    return f"{zlib.crc32(data):08x}"


def of_json(data: Mapping[str, Any]) -> str:
    """The checksum of plain data: of its JSON in one line, without blanks."""
    return checksum(json.dumps(data, separators=(",", ":")).encode())


def seal(line: bytes) -> bytes:
    """A JSON object in one line, with its checksum as its last field."""
    body = line[:-1]
    return body + f',"{KEY}":"{checksum(body)}"}}'.encode()


def unseal(line: bytes) -> bytes:
    """The JSON object that `seal` was given. Raises the standard `ValueError` saying what is wrong
    with the line."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    expected = checksum(body)
    if tail != f',"{KEY}":"{expected}"}}'.encode():
        raise ValueError(f"adds up to {expected}, but ends with {tail.decode(errors='replace')!r}")
    return body + b"}"


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a whole file: its format, `data` and their checksum."""
    told = {"format": FORMAT, **data}
    return told | {KEY: of_json(told)}


def read(path: Path) -> dict[str, Any]:
    """What a sealed file says, without format and checksum.

    Raises `OSError` when it cannot be read, and the standard `ValueError` saying what is wrong with
    it.
    """
    told = json.loads(path.read_bytes())
    if not isinstance(told, dict) or (KEY not in told and "format" not in told):
        raise ValueError(
            f"it must be of format {FORMAT}, but has no checksum; files of version 0.1 have none."
        )
    stated, found = told.pop(KEY, None), of_json(told)
    if stated != found:
        raise ValueError(f"it must add up to its checksum {stated!r}, but adds up to {found!r}.")
    if told["format"] != FORMAT:
        raise ValueError(
            f"it must be of format {FORMAT}, but is of format {told['format']!r}, of another"
            " version."
        )
    del told["format"]
    return told


def beside(path: Path) -> Path:
    """A free name beside `path`, to keep there what is damaged: `NAME.damaged`, `NAME.damaged-2`,
    ..."""
    names = (path.with_name(f"{path.name}.damaged" + (f"-{n}" if n > 1 else "")) for n in count(1))
    return next(name for name in names if not name.exists())
