"""text8: the first 100,000,000 letters and blanks of Wikipedia, as of 2006: Table 1, Figure 4 (spec
section 4).

Not yet run on the real file. Its size and SHA-256, and those of its archive, are those that several
independent projects check. They are checked when the file is fetched, and its symbols when it is
read.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from zoneout_core.data.datafiles import DataFile, fetch_command
from zoneout_core.errors import DataError
from zoneout_core.tasks import Corpus, Task

if TYPE_CHECKING:
    from zoneout_core.tasks import Tokens

VOCABULARY = (" ", *ascii_lowercase)
HELD_OUT = 5_000_000
"""Characters of test, the last ones, and of valid, those before them."""


def load(data_dir: Path, variant: str) -> Corpus:
    """The first 90 million characters are train, the next 5 million valid, the last 5 million
    test."""
    return corpus(data_dir / TASK.files[0].path, variant, HELD_OUT)


def corpus(path: Path, variant: str, held_out: int) -> Corpus:
    """A corpus of the text in `path`: its last `held_out` characters are test, as many before them
    valid.

    Raises `DataError` for any symbol but a-z and blank.
    """
    from zoneout_core.tasks import _text

    tokens_N = _encode(path)
    parts = [tokens_N[: -2 * held_out], tokens_N[-2 * held_out : -held_out], tokens_N[-held_out:]]
    return _text.assemble(TASK.name, variant, VOCABULARY, parts)


def _encode(path: Path) -> Tokens:
    """uint8 ids [N], from a table by byte in which 255 means that there is no id."""
    import numpy as np

    table = np.full(256, 255, np.uint8)
    table[[ord(symbol) for symbol in VOCABULARY]] = np.arange(len(VOCABULARY))
    bytes_N = np.fromfile(path, np.uint8)
    tokens_N: Tokens = table[bytes_N]
    strange = np.flatnonzero(tokens_N == 255)
    if len(strange):
        symbol = bytes(bytes_N[strange[:1]])
        raise DataError(
            f"{path} must consist of a-z and blanks, but byte {strange[0]:,} is {symbol!r}. "
            f"Fetch it again with: {fetch_command('text8', path.parents[1])} --force"
        )
    return tokens_N


TASK = Task(
    name="text8",
    description=(
        "Wikipedia by character: 90 million train, 27 symbols (the paper's Table 1, Figure 4)"
    ),
    variants=("90-5-5",),
    files=(
        DataFile(
            path="text8/text8",
            bytes=100_000_000,
            sha256="6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
            archive=DataFile(
                path="text8/text8.zip",
                bytes=31_344_016,
                sha256="a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
                addresses=(
                    "https://mattmahoney.net/dc/text8.zip",
                    "http://mattmahoney.net/dc/text8.zip",
                ),
            ),
        ),
    ),
    settings={
        "hidden_size": 2000,
        "batch_size": 128,
        "sequence_length": 180,
        "learning_rate": 0.001,
        "epochs": 40,
        "patience": 5,
    },
    load=load,
)
