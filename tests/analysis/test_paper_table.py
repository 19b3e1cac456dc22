"""Paper and ours, side by side, from hand-made trials."""

import csv
import io
import json
import math

import pandas as pd
import pytest

from analysis import paper_table
from analysis.paper import find
from analysis.paper_table import Column, Table, TableRow

COLUMNS = (
    Column(title="Valid", metric="valid_chunked_bpc", protocol="chunks of 100"),
    Column(title="Test", metric="test_stream_bpc", protocol="one pass, the state carried"),
)
VALID, TEST = (column.metric for column in COLUMNS)
ROWS = (
    TableRow(title="Zoneout", label="zoneout", paper={VALID: find("char_ptb", "zoneout", "valid"), TEST: find("char_ptb", "zoneout", "test", source="Table 1")}),
    TableRow(title="RBN", label="rbn", paper={TEST: find("char_ptb", "recurrent_batchnorm", "test")}),
    TableRow(title="Weight noise", label="noise"),
    TableRow(title="Ours alone", label="alone"),
)  # fmt: skip


@pytest.fixture
def trials() -> pd.DataFrame:
    nan = math.nan
    lines = [
        ("zoneout", 1, "complete", "", 28, "cpu, 1 thread", 1.375, 1.25),
        ("zoneout", 0, "complete", "", 30, "cpu, 1 thread", 1.365, 1.26),
        ("rbn", 0, "failed", "diverged: loss is nan", 3, "cpu, 1 thread", nan, nan),
        ("alone", 0, "complete", "", 30, "H100", 1.4, 1.3),
        ("alone", 1, "running", "", 7, "H100", nan, nan),
    ]
    return pd.DataFrame(
        lines, columns=["label", "seed", "state", "reason", "epoch", "hardware", VALID, TEST]
    )


@pytest.fixture
def whole(trials: pd.DataFrame) -> Table:
    return paper_table.compute(trials, "Table 1", "paper", COLUMNS, ROWS)


def test_means_intervals_and_differences_are_by_column(whole: Table) -> None:
    zoneout = whole.lines[0]
    valid, test = zoneout.entries
    assert valid.ours
    assert test.ours
    assert (valid.ours.values, test.ours.values) == ((1.365, 1.375), (1.26, 1.25)), "by seed"
    assert valid.ours.mean == pytest.approx(1.37, abs=1e-15)
    assert valid.difference == pytest.approx(1.37 - 1.362)
    assert valid.ours.half_width == pytest.approx(12.706204736 * 0.005, rel=1e-8)
    assert (zoneout.seeds, zoneout.epochs, zoneout.hardware) == (
        (0, 1),
        (30, 28),
        ("cpu, 1 thread",),
    )


def test_it_reads_as_people_read(whole: Table) -> None:
    heads, lines = paper_table.headings(whole), list(paper_table.cells(whole))
    assert heads[:4] == [("", "system"), ("Valid", "paper"), ("Valid", "ours"), ("Valid", "diff")]
    assert lines[0] == ["Zoneout", "1.362", "1.370 ± 0.064", "+0.008", "1.252", "1.255 ± 0.064", "+0.003", "2", "28-30"]  # fmt: skip
    assert lines[1][1:7] == [
        "-",
        "1 failed",
        "",
        "1.320",
        "1 failed",
        "",
    ]
    assert lines[2][1:] == ["-", "not run", "", "-", "not run", "", "0", ""]
    assert lines[3][1:8] == ["-", "1.400", "", "-", "1.300", "", "1"], (
        "one seed has no interval, a running one no number"
    )
    assert whole.lines[3].state == "1 running"


def test_a_smaller_scale_is_never_called_ours_alone(trials: pd.DataFrame) -> None:
    small = paper_table.compute(trials, "Table 1", "small", COLUMNS, ROWS)
    assert small.ours == "ours (small)"
    assert ("Valid", "ours (small)") in paper_table.headings(small)
    assert ("Valid", "ours") not in paper_table.headings(small)
    assert paper_table.to_csv(small).splitlines()[1].endswith(",small")


def test_a_column_of_which_nothing_was_published_is_ours_alone(trials: pd.DataFrame) -> None:
    alone = paper_table.compute(trials, "", "paper", COLUMNS, ROWS[1:])
    assert alone.published == (False, True)
    assert paper_table.headings(alone) == [
        ("", "system"), ("Valid", "ours"), ("Test", "paper"), ("Test", "ours"), ("Test", "diff"), ("", "seeds"), ("", "epochs"),
    ]  # fmt: skip
    assert [len(line) for line in paper_table.cells(alone)] == [7, 7, 7]


def test_the_csv_has_exact_numbers(whole: Table) -> None:
    lines = list(csv.DictReader(paper_table.to_csv(whole).splitlines()))
    assert len(lines) == 8
    ours = whole.lines[0].entries[0].ours
    assert ours is not None
    assert float(lines[0]["ours"]) == ours.mean
    assert (lines[1]["protocol"], lines[1]["paper"]) == ("one pass, the state carried", "1.252")
    assert (lines[2]["paper"], lines[2]["ours"], lines[2]["seeds"]) == ("", "", "0")


def test_a_title_with_a_comma_a_quote_and_a_newline_survives_the_csv() -> None:
    hard = 'dropout, 0.5 "naive"\nsecond line'
    row = TableRow(title=hard, label=hard)
    trials = pd.DataFrame(
        [(hard, 0, "complete", "", 30, "cpu", 0.1 + 0.2, 1e-7)],
        columns=["label", "seed", "state", "reason", "epoch", "hardware", VALID, TEST],
    )
    text = paper_table.to_csv(paper_table.compute(trials, "Table 1", "paper", COLUMNS, [row]))
    valid, test = csv.DictReader(io.StringIO(text))
    assert (valid["system"], valid["label"]) == (hard, hard)
    assert (valid["ours"], test["ours"]) == ("0.30000000000000004", "1e-07")
    assert (valid["low"], valid["difference"], valid["scale"]) == ("", "", "paper")


def test_json_says_everything(whole: Table) -> None:
    told = json.loads(json.dumps(paper_table.to_json(whole), allow_nan=False))
    zoneout = told["rows"][0]
    assert told["columns"][1] == {
        "title": "Test",
        "metric": TEST,
        "protocol": "one pass, the state carried",
    }
    assert zoneout["numbers"][TEST]["source"] == "paper (final version) Table 1"
    assert zoneout["numbers"][VALID]["values"] == [1.365, 1.375]
    assert (told["rows"][1]["state"], told["rows"][1]["reasons"]) == (
        "1 failed",
        ["diverged: loss is nan"],
    )


def test_no_trial_at_all() -> None:
    empty = pd.DataFrame(columns=["label", "seed", "state", "reason", "epoch", "hardware"])
    none = paper_table.compute(empty, "Table 1", "paper", COLUMNS, ROWS)
    assert [line.state for line in none.lines] == ["not run"] * 4
    assert paper_table.to_csv(none).count("\n") == 9
