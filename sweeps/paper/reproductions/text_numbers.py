"""Numbers that the paper states only in its text (spec section 10): GRU, tanh-RNN, and a headline
that its table dropped."""

from analysis.paper import find
from analysis.paper_table import Column, TableRow
from sweeps.definitions.text_numbers import Z_STATES
from sweeps.paper.reproductions import Block, Reproduction
from sweeps.paper.reproductions._shared import CHARACTERS
from sweeps.paper.reproductions.table1 import WORDS

VALID, TEST = CHARACTERS
_SPLIT = "unspecified (most likely valid)"


def _row(cell: str, title: str, model: str, z: float) -> TableRow:
    if z:
        published = find("char_ptb", "zoneout", _SPLIT, model=model)
        label = f"{cell}-zoneout-{z:g}"
        title = f"{title}, zoneout {z:g}"
    else:
        published = find("char_ptb", "none", _SPLIT, model=model)
        label = cell
    return TableRow(title=title, label=label, paper={VALID.metric: published})


def _text(
    title: str, label: str, column: Column, split: str, regularizer: str, task: str, source: str
) -> TableRow:
    return TableRow(
        title=title,
        label=label,
        paper={column.metric: find(task, regularizer, split, source=source)},
    )


REPRODUCTION = Reproduction(
    title="Numbers of the text",
    blocks=(
        Block(
            title="GRU and tanh-RNN, characters of Penn Treebank",
            sweep="text_numbers",
            columns=CHARACTERS,
            rows=tuple(
                _row(*names, z)
                for names in (("gru", "GRU", "GRU-1x1000"), ("rnn", "tanh-RNN", "tanh-RNN-1x1000"))
                for z in (0.0, *Z_STATES)
            ),
        ),
        Block(
            title="The headline of the text (Table 1 of the same version has 1.252)",
            sweep="table1_char",
            columns=(TEST,),
            rows=(
                _text(
                    "Zoneout 0.5 / 0.05",
                    "zoneout",
                    TEST,
                    "test (stated as headline)",
                    "zoneout",
                    "char_ptb",
                    "4.1.1",
                ),
            ),
            trained_by="table1",
        ),
        Block(
            title="Words: what zoneout adds to NR-dropout",
            sweep="table1_word",
            columns=(WORDS[1],),
            rows=(
                _text(
                    "NR-dropout",
                    "nr-dropout",
                    WORDS[1],
                    "test",
                    "nr_dropout",
                    "word_ptb",
                    "Table 1",
                ),
                _text(
                    "NR-dropout + zoneout",
                    "zoneout",
                    WORDS[1],
                    "test",
                    "zoneout",
                    "word_ptb",
                    "Table 1",
                ),
            ),
            trained_by="table1",
        ),
    ),
    notes=(
        (
            "The paper says neither which split the GRU's and tanh-RNN's numbers are of (most"
            " likely valid) nor which z in 0.05 to 0.25 they are of: each z stands beside the one"
            " number."
        ),
    ),
)
