"""Seals: a line or a file of a run ends with the checksum of its content, so that damage is seen
and never believed.

    {"event":"end", ... ,"crc32":"9f2c01ab"}       CRC-32 of the bytes before its comma
    {"format": 3, ... , "crc32": "9f2c01ab"}   of a file: its compact JSON, however indented

A checksum finds every flipped bit. It is not a signature: whoever edits a file on purpose can seal
it again.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from zoneout_core import formats

KEY = "crc32"
_TAIL = len(f',"{KEY}":"00000000"}}')


def checksum(data: bytes) -> str:
    """CRC-32 as eight hexadecimal digits."""
    return f"{zlib.crc32(data):08x}"


def of_json(data: Mapping[str, object]) -> str:
    """The checksum of plain data, taken of its JSON in one line without blanks."""
    return checksum(json.dumps(data, separators=(",", ":")).encode())


def seal(line: bytes) -> bytes:
    """A JSON object in one line, with its checksum as its last field."""
    body = line[:-1]
    return body + f',"{KEY}":"{checksum(body)}"}}'.encode()


def unseal(line: bytes) -> bytes:
    """The JSON object inside a sealed line. Raises the standard `ValueError`, saying what is wrong
    with the line."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    expected = checksum(body)
    if tail != f',"{KEY}":"{expected}"}}'.encode():
        raise ValueError(f"adds up to {expected}, but ends with {tail.decode(errors='replace')!r}")
    return body + b"}"


class OtherFormat(ValueError):
    """A file has another format than this version writes."""

    def __init__(self, file: Path, number: object) -> None:
        super().__init__(
            f"This version reads a {file.name} of format {formats.of(file)}, but {file} is"
            f" {formats.stated(number)}."
        )


def sealed(file: Path, data: Mapping[str, object]) -> dict[str, object]:
    """The whole content of `file`: the number of its format, `data` and their checksum."""
    content = {"format": formats.of(file), **data}
    return content | {KEY: of_json(content)}


def read(file: Path) -> dict[str, object]:
    """The content of a sealed file, without format and checksum.

    Raises `OSError` when it cannot be read, `OtherFormat`, and the standard `ValueError`, saying
    what is wrong with it.
    """
    content = json.loads(file.read_bytes())
    if not isinstance(content, dict) or (KEY not in content and "format" not in content):
        raise OtherFormat(file, None)
    stated = content.pop(KEY, None)
    actual = of_json(content)
    if stated != actual:
        raise ValueError(f"it must add up to its checksum {stated!r}, but adds up to {actual!r}.")
    number = content.pop("format")
    if number != formats.of(file):
        raise OtherFormat(file, number)
    return content


def beside(path: Path) -> Path:
    """A free name beside `path` for its damaged content: `NAME.damaged`, `NAME.damaged-2`, ..."""
    free = path.with_name(f"{path.name}.damaged")
    number = 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.damaged-{number}")
    return free
