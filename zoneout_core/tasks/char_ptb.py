"""Penn Treebank, character by character: Table 1, Figures 3, 4 and 7 of the paper (spec section 2).

The characters come from Mikolov's word-level files, whose lines all start and end with one blank.
The array that the authors trained on was never released; its length (446,184 test characters) is
that of the files minus one blank per line. Which of the two blanks they dropped is unknown, and
does not change the total code length (spec section 2.1).
"""

from __future__ import annotations

from pathlib import Path

from zoneout_core.tasks import Corpus, Task, _ptb


def load(data_dir: Path, variant: str) -> Corpus:
    """446k drops the leading blank of each line, 442k the trailing one as well; a newline is a
    symbol.

    The character files that Mikolov published, commonly quoted with 5,017,483 / 393,043 / 442,424
    symbols, have one symbol more in each part than 442k. Where it stands is not known; it changes
    no number in the digits that are printed.
    """
    from zoneout_core.tasks import _text

    train, valid, test = (characters(text, variant) for text in _ptb.texts(data_dir))
    return _text.corpus(TASK.name, variant, train, valid, test)


def characters(text: str, variant: str) -> str:
    """The characters of a word-level file in the form `variant`."""
    text = text.removeprefix(" ").replace("\n ", "\n")
    if variant == "442k":
        return text.replace(" \n", "\n")
    return text


TASK = Task(
    name="char_ptb",
    description=(
        "Penn Treebank by character: 5.06 million train, 50 symbols (the paper's Table 1, Figures"
        " 3, 4, 7)"
    ),
    variants=("446k", "442k"),
    files=_ptb.FILES,
    # As in the log that the authors released. The other defaults are those of this task.
    settings={"epochs": 110},
    load=load,
)
