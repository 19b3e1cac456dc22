"""Programs of one to three lines over the variables a to h, and what they print (spec section 6,
variant `program`).

The grammar is ours; the spec names its elements: assignments, + and -, an `if` that is not nested,
a final `print`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from zlib import crc32

if TYPE_CHECKING:
    import numpy as np

LEVELS = ((1, 1), (2, 1), (2, 2), (2, 3))
"""Most digits of a number and most lines of a program, by difficulty from 1. They grow in turn."""
VARIABLES = "abcdefgh"
IF_SHARE = 0.5
"""Share of `if` among the lines that may be one: those after an assignment."""


def draw(
    random: np.random.Generator, difficulty: int, count: int, split: Literal["train", "valid"]
) -> list[tuple[str, str]]:
    """Programs, reversed, with what they print. Each program belongs to one split only, by the
    parity of its CRC-32."""
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        text, printed = program(random, *LEVELS[difficulty - 1])
        if crc32(text.encode()) % 2 == (split == "valid"):
            pairs.append((text[::-1], printed))
    return pairs


def program(random: np.random.Generator, digits: int, most_lines: int) -> tuple[str, str]:
    """The text of a program of at most `most_lines` lines, with numbers of at most `digits` digits,
    and what it prints."""
    values: dict[str, int] = {}
    lines = []
    for _ in range(int(random.integers(most_lines))):
        variable = VARIABLES[random.integers(len(VARIABLES))]
        text, value = _expression(random, digits, values)
        line = f"{variable}={text}"
        if values and random.random() < IF_SHARE:
            # An old variable, which has a value even if the condition fails.
            variable = list(values)[random.integers(len(values))]
            (left, sign, right), holds = _condition(random, digits, values)
            line = f"if {left}{sign}{right}:{variable}={text}"
            if not holds:
                value = values[variable]
        values[variable] = value
        lines.append(line)
    text, value = _expression(random, digits, values)
    return "\n".join([*lines, f"print({text})"]), str(value)


def _expression(
    random: np.random.Generator, digits: int, values: dict[str, int]
) -> tuple[str, int]:
    """A sum or difference of two terms, and its value."""
    (left, a), (right, b) = (_term(random, digits, values) for _ in range(2))
    if random.random() < 0.5:
        return (f"{left}+{right}", a + b)
    return (f"{left}-{right}", a - b)


def _condition(
    random: np.random.Generator, digits: int, values: dict[str, int]
) -> tuple[tuple[str, str, str], bool]:
    """A comparison, and whether it holds."""
    (left, a), (right, b) = (_term(random, digits, values) for _ in range(2))
    if random.random() < 0.5:
        return ((left, "<", right), a < b)
    return ((left, ">", right), a > b)


def _term(random: np.random.Generator, digits: int, values: dict[str, int]) -> tuple[str, int]:
    """A term and its value: a number or, half of the time where there is one, a variable."""
    if values and random.random() < 0.5:
        name = list(values)[random.integers(len(values))]
        return name, values[name]
    number = int(random.integers(10 ** int(random.integers(1, digits, endpoint=True))))
    return str(number), number
