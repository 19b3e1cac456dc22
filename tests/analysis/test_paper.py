"""The published numbers: they are those of the paper, each is found, and each says where it is
from."""

import pytest

from analysis import paper
from analysis.paper import find


def test_every_number_has_a_source_and_a_value() -> None:
    assert len(paper.numbers()) == 84
    assert all(one.source and one.task and one.split for one in paper.numbers())
    pairs = [one for one in paper.numbers() if isinstance(one.value, list)]
    assert [one.value for one in pairs] == [[78.4, 77.4]]


@pytest.mark.parametrize(
    ("task", "regularizer", "split", "value"),
    [
        ("char_ptb", "none", "valid", 1.466),
        ("char_ptb", "zoneout", "test", 1.252),
        ("word_ptb", "zoneout", "valid", 81.4),
        ("text8", "stochastic_depth", "test", 1.343),
    ],
)
def test_the_cells_of_table_1(task: str, regularizer: str, split: str, value: float) -> None:
    assert find(task, regularizer, split, source="Table 1").number == value


def test_a_number_is_found_by_all_that_tells_it_apart() -> None:
    assert find("char_ptb", "recurrent_dropout", "valid").number == 1.396
    assert find("char_ptb", "recurrent_dropout", "valid", version="older").number == 1.358
    with pytest.raises(LookupError, match="2 published numbers are .*'split': 'test'"):
        find("char_ptb", "hyperlstm_layernorm", "test")
    with pytest.raises(LookupError, match="0 published numbers"):
        find("char_ptb", "zonout", "test")
