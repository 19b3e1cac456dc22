"""Table 1: characters, words and text8 (spec sections 2 to 4, 9 to 11)."""

from analysis.table import Column, Row
from sweeps.reproductions import Block, Reproduction, row

CHARACTERS = (
    Column(
        title="Valid",
        metric="valid_chunked_bpc",
        protocol="bits per character of chunks of 100, each from the initial state",
    ),
    Column(
        title="Test",
        metric="test_stream_bpc",
        protocol="bits per character of one pass over the whole text, the state carried",
    ),
)


def _char(label: str, title: str, regularizer: str) -> Row:
    return row(label, title, CHARACTERS, {"task": "char_ptb", "regularizer": regularizer, "source": "Table 1"})


REPRODUCTION = Reproduction(
    title="Table 1: validation and test results, paper and ours",
    blocks=(
        Block(
            title="Penn Treebank, characters",
            sweep="table1_char",
            columns=CHARACTERS,
            rows=(
                _char("unregularized", "Unregularized LSTM", "none"),
                _char("zoneout", "Zoneout", "zoneout"),
            ),
        ),
    ),
)
