"""The format of every kind of file that we write: a number that is stored in the file.

Raise a number here when older code cannot read the new files. A file with another number is
refused; its content is never guessed. Version 0.1 wrote format 1, or no number.
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
    """The format that a file states, in words."""
    if number is None:
        return "without the number of its format, as version 0.1 wrote it"
    return f"of format {number}"


def of(file: Path) -> int:
    """The format number of a file of this name."""
    return FORMATS[file.name]
