"""Table 1: characters and words of Penn Treebank, and text8 (spec sections 2 to 4, 9 to 11)."""

from analysis.paper import find
from analysis.paper_table import Column, TableRow
from sweeps.paper.reproductions import Block, Reproduction, row
from sweeps.paper.reproductions._shared import CHARACTERS, STREAMED, six, table1

WORDS = (
    Column(
        title="Valid",
        metric="valid_perplexity",
        protocol="perplexity of 20 lanes, the state carried from chunk to chunk",
        digits=1,
    ),
    Column(
        title="Test",
        metric="test_perplexity",
        protocol="perplexity of one pass over the whole text, masks as expected",
        digits=1,
    ),
)
MONTE_CARLO = Column(
    title="Test",
    metric="test_mc_perplexity",
    protocol="perplexity of probabilities averaged over passes with drawn masks",
    digits=1,
)
_GAL = {"task": "word_ptb", "version": "primary source"}


def _word(label: str, title: str, regularizer: str, note: str = "") -> TableRow:
    return row(
        label,
        title,
        WORDS,
        {"task": "word_ptb", "regularizer": regularizer, "source": "Table 1"},
        note=note,
    )


OLDER = row(
    "recurrent-dropout-0.7",
    "Recurrent dropout 0.7",
    CHARACTERS,
    {"task": "char_ptb", "regularizer": "recurrent_dropout", "version": "older"},
    note="the value that an older text of the paper names as best, with its numbers",
)
MEDIUM = row(
    "nr-dropout-medium",
    "NR-dropout, 650 units",
    WORDS,
    {"task": "word_ptb", "regularizer": "nr_dropout .5", "version": "primary source"},
    note="Zaremba's medium model, an affordable check that is not in Table 1",
)
V_DROPOUT = TableRow(
    title="V-dropout (Gal)",
    label="v-dropout",
    paper={
        "valid_perplexity": find(regularizer="variational", split="valid", **_GAL),
        "test_perplexity": find(
            regularizer="variational, mean approximation", split="test", **_GAL
        ),
    },
    note="the mean network; published by Gal, not in Table 1",
)
V_DROPOUT_MC = TableRow(
    title="V-dropout (Gal)",
    label="v-dropout",
    paper={"test_mc_perplexity": find("word_ptb", "variational", "test")},
    note="published with 2000 passes over the text, here 100",
)
NOT_STATED = _word(
    "",
    "Recurrent dropout",
    "recurrent_dropout",
    note=(
        "neither its strength nor its model is stated (perhaps quoted from others), so that nothing"
        " can be run"
    ),
)
REPRODUCTION = Reproduction(
    title="Table 1: validation and test results, paper and ours",
    blocks=(
        Block(
            title="Penn Treebank, characters",
            sweep="table1_char",
            columns=CHARACTERS,
            rows=(
                *six("char_ptb", "0.25"),
                row(
                    "recurrent-dropout-0.3",
                    "Recurrent dropout 0.3",
                    note="what the README's 0.7 may mean",
                ),
                OLDER,
                table1(
                    "char_ptb",
                    "rbn",
                    "RBN (Cooijmans et al.)",
                    "recurrent_batchnorm",
                    splits=["test"],
                ),
                table1(
                    "char_ptb",
                    "hm-lstm",
                    "3-HM-LSTM + LN (Chung et al.)",
                    "hmlstm_layernorm",
                    splits=["test"],
                ),
            ),
        ),
        Block(
            title=(
                "Penn Treebank, characters, of a system below the line: both columns are streamed"
            ),
            sweep="table1_char",
            columns=STREAMED,
            rows=(
                row(
                    "hyper-lstm",
                    "H-LSTM + LN (Ha et al.)",
                    STREAMED,
                    {
                        "task": "char_ptb",
                        "regularizer": "hyperlstm_layernorm",
                        "model": "HyperLSTM-1000+LN",
                        "source": "Table 1",
                    },
                ),
            ),
        ),
        Block(
            title="Penn Treebank, words",
            sweep="table1_word",
            columns=WORDS,
            rows=(
                _word(
                    "unregularized",
                    "Unregularized LSTM",
                    "none",
                    note="Zaremba's small model, 2 x 200 units",
                ),
                NOT_STATED,
                _word("zoneout", "Zoneout 0.25 / 0.025", "zoneout", note="added to NR-dropout"),
                _word("nr-dropout", "NR-dropout (Zaremba)", "nr_dropout"),
                MEDIUM,
                V_DROPOUT,
            ),
        ),
        Block(
            title="Penn Treebank, words, by Monte Carlo",
            sweep="table1_word",
            columns=(MONTE_CARLO,),
            rows=(V_DROPOUT_MC,),
        ),
        Block(
            title="text8",
            sweep="table1_text8",
            columns=CHARACTERS,
            rows=(
                *six("text8", "0.5"),
                row("zoneout-0.2", "Zoneout 0.2 / 0.2", note="what the README has"),
                table1(
                    "text8", "rbn", "RBN (Cooijmans et al.)", "recurrent_batchnorm", splits=["test"]
                ),
                table1(
                    "text8",
                    "hm-lstm",
                    "3-HM-LSTM + LN (Chung et al.)",
                    "hmlstm_layernorm",
                    splits=["test"],
                ),
            ),
        ),
    ),
    notes=(
        (
            "Single test values of the paper are uncertain by about 0.02 bits: some changed between"
            " its versions."
        ),
        (
            "That the paper's Test column is streamed is inferred, and so are strengths that it"
            " does not state for text8."
        ),
    ),
)
