"""The format of every kind of file that we write: a number that stands in the file.

Raise a number here when the code before could not read what is written from now on. A file of
another number is refused and never guessed at. Version 0.1 wrote format 1, or no number.
"""

from pathlib import Path

FORMATS = {
    "journal.jsonl": 3,
    "sweep.json": 3,
    "provenance.json": 2,
    "tracking.json": 2,
    "secrets.json": 2,
    "lane.json": 4,
    "product": 2,
    "numbers.json": 2,
    "export": 2,
}
"""By file name; a `product` is a file of `products/`, an `export` what `sweep export --json`
prints."""


def stated(number: object) -> str:
    """What a file says of its format, in words."""
    if number is None:
        return "without the number of its format, as version 0.1 wrote it"
    return f"of format {number}"


def of(file: Path) -> int:
    """The number that a file of this name has."""
    return FORMATS[file.name]
