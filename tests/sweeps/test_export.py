"""Tables of a run: exact floats, the same in both formats, the same bytes from equal sweeps."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from sweeps.books import export
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from tests.sweeps.commands import sweep
from tests.sweeps.driven import begin, drive_inline, tiny
from tests.sweeps.journals import RunMaker, bpc

PARAMS = ("regularizer.zoneout.z_cells", "regularizer.zoneout.z_states")
SCORES = ("valid_chunked_bpc", "valid_stream_bpc", "test_chunked_bpc", "test_stream_bpc")
BEST = (*SCORES, "stream_uncertainty_bpc")


@pytest.fixture
def motley(tmp_path: Path) -> Story:
    """One trial of each kind: complete, pruned, failed, running, failed before its first epoch."""
    maker = RunMaker(tmp_path / "run", epochs=3)
    maker.driver()
    maker.complete(0)
    maker.pruned(1, 2, z_cells=0.25, z_states=0.0)
    maker.failed(2, 1)
    maker.trial(3)
    maker.record(3, 1, 2.0)
    maker.failed(4, 0)
    return Story.of(maker.folder / "journal.jsonl")


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_per_trial_has_all_there_is_to_know(finished: RunFolder) -> None:
    table = export.rows(finished.story())
    assert [row["trial"] for row in table] == list(range(9))
    assert list(table[0]) == [
        "trial", *PARAMS, "seed", "state", "reason", "epochs", "updates",
        "last_train_bpc", "last_valid_chunked_bpc", "last_grad_norm",
        "best_epoch", *(f"best_{name}" for name in BEST),
        "asked", "started", "ended", "seconds",
    ]  # fmt: skip
    assert {(row["state"], row["reason"], row["epochs"], row["updates"]) for row in table} == {
        ("complete", "all 2 epochs", 2, 8)
    }
    assert all(
        row["asked"] <= row["started"] <= row["ended"] and row["seconds"] > 0 for row in table
    )


def test_csv_and_json_hold_the_same_values_to_the_last_bit(finished: RunFolder) -> None:
    table = export.rows(finished.story())
    from_json = json.loads(export.render(table, "json"))["rows"]
    assert from_json == table
    for row, texts in zip(table, parsed(export.render(table, "csv")), strict=True):
        assert list(texts) == list(row)
        for key, value in row.items():
            assert (float(texts[key]) if isinstance(value, float) else texts[key]) == (
                value if isinstance(value, float) else str(value)
            )


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 4.997877765526407]
)
def test_a_float_comes_back_as_it_went(value: float) -> None:
    table = [{"trial": 0, "value": value}]
    assert float(parsed(export.render(table, "csv"))[0]["value"]) == value
    assert json.loads(export.render(table, "json"))["rows"][0]["value"] == value


def test_curves_have_a_row_per_trial_and_epoch(finished: RunFolder) -> None:
    story = finished.story()
    table = export.rows(story, curves=True)
    assert [(row["trial"], row["epoch"], row["updates"]) for row in table] == [
        (trial, epoch, 4 * epoch) for trial in range(9) for epoch in (1, 2)
    ]
    assert list(table[0]) == [
        "trial", *PARAMS, "seed", "epoch", "updates", "train_bpc", "valid_chunked_bpc", "grad_norm", "time", "seconds",
    ]  # fmt: skip
    assert table[1]["valid_chunked_bpc"] == export.rows(story)[0]["last_valid_chunked_bpc"]


def test_equal_sweeps_give_equal_bytes_without_times(finished: RunFolder, tmp_path: Path) -> None:
    definition = tiny(lanes=2)  # other packs, same trials
    again = begin(tmp_path, definition)
    drive_inline(again, definition)
    for options in (["--no-times"], ["--no-times", "--curves"], ["--no-times", "--json"]):
        one, two = (
            sweep("export", "latest", "--home", run.folder.parent, *options).out.encode()
            for run in (finished, again)
        )
        assert one == two
        assert one.count(b"complete") == (0 if "--curves" in options else 9)
    timed = [
        sweep("export", "latest", "--home", run.folder.parent).out for run in (finished, again)
    ]
    assert timed[0] != timed[1], (
        "with times they differ, or --no-times would have nothing to leave out"
    )


def test_every_state_has_its_row(motley: Story) -> None:
    table = export.rows(motley)
    told: list[Any] = [
        (row["state"], row["reason"], row["epochs"], row["ended"] is not None) for row in table
    ]
    assert told == [
        ("complete", "all 3 epochs", 3, True),
        ("pruned", "asha: among the worse half at its rung", 2, True),
        ("failed", "diverged: the loss of epoch 2 is not finite", 1, True),
        ("running", "", 1, False),
        ("failed", "diverged: the loss of epoch 1 is not finite", 0, True),
    ]
    best = [tuple(row[f"best_{name}"] for name in SCORES) for row in table]
    value = bpc(0.5, 0.05, 3)
    assert best[0] == (value, value - 0.07, value - 0.04, value - 0.11)
    assert best[1] == (bpc(0.25, 0.0, 2) + 0.1, None, None, None), (
        "its validation is known, the rest never measured"
    )
    assert best[3] == (2.0, None, None, None)
    assert [row["best_epoch"] for row in table] == [3, 2, 1, 1, None]
    assert [row["last_train_bpc"] for row in table][3:] == [1.9, None]


def test_what_is_not_known_is_empty_in_csv_and_null_in_json(motley: Story) -> None:
    table = export.rows(motley)
    texts, plain = (
        parsed(export.render(table, "csv")),
        json.loads(export.render(table, "json"))["rows"],
    )
    for key in ("last_train_bpc", "best_epoch", "best_valid_chunked_bpc"):
        assert (texts[4][key], plain[4][key]) == ("", None)


def test_a_column_that_only_some_rows_have_is_empty_in_the_others() -> None:
    table = [
        {"trial": 0, "optim.clip": "update"},
        {"trial": 1, "optim.clip": "gradient", "optim.clip_norm": 2.0},
    ]
    assert (
        export.render(table, "csv")
        == "trial,optim.clip,optim.clip_norm\n0,update,\n1,gradient,2.0\n"
    )


def test_a_run_without_trials_has_an_empty_table() -> None:
    assert export.rows(Story()) == []
    assert export.render([], "csv") == ""
    assert json.loads(export.render([], "json")) == {"format": 2, "rows": []}


def test_a_text_with_commas_and_quotes_stays_one_field() -> None:
    table = [{"trial": 0, "reason": 'OSError: "a, b"\nc'}]
    assert parsed(export.render(table, "csv"))[0]["reason"] == table[0]["reason"]


def test_the_command_writes_to_stdout_or_to_a_file(finished: RunFolder, tmp_path: Path) -> None:
    home, file = finished.folder.parent, tmp_path / "trials.csv"
    printed = sweep("export", finished.name, "--home", home)
    written = sweep("export", finished.name, "--home", home, "--out", file)
    assert (printed.code, written) == (0, (0, "", ""))
    assert file.read_text() == printed.out == export.render(export.rows(finished.story()), "csv")
    as_json = sweep("export", finished.name, "--home", home, "--format", "json")
    assert as_json.out == sweep("export", finished.name, "--home", home, "--json").out
    assert json.loads(as_json.out)["rows"] == export.rows(finished.story())


def test_a_file_that_cannot_be_written_is_told(finished: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "no folder" / "trials.csv"
    done = sweep("export", "latest", "--home", finished.folder.parent, "--out", file)
    assert done == (
        2, "", f"error: --out needs a file that can be written, but {file}: No such file or directory. Name another.\n"
    )  # fmt: skip
