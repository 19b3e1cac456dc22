"""`sweep reproduce` in one process: what is trained and what is read, what is printed, and what is
refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps import runner
from sweeps.books.run_folder import Home
from sweeps.definitions import _rows
from sweeps.paper import found_trials, reproducing, reproductions
from sweeps.paper.reproducing import Request
from tests.sweeps.commands import Done, sweep
from zoneout_core.tasks import text8

THREE = "unregularized,recurrent-dropout,zoneout"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def reproduce(home: Home, data: Path, name: str, *arguments: str) -> Done:
    """`sweep reproduce NAME --scale smoke --inline`"""
    options = [
        "--scale",
        "smoke",
        "--inline",
        "--tracking",
        "none",
        "--home",
        home.folder,
        "--data",
        data,
    ]
    return sweep("reproduce", name, *options, *arguments, width=120)


def numbers(done: Done) -> dict[str, Any]:
    """Values by row, of the first block of what `--json` printed."""
    rows = json.loads(done.out)["blocks"][0]["rows"]
    return {row["label"]: row["numbers"]["test_error"]["values"] for row in rows}


def labels(home: Home) -> list[list[str]]:
    """Rows that each run of the home has trained, oldest run first."""
    return [[trial.params["label"] for trial in run.story().trials.values()] for run in home.runs()]


def test_rows_and_seeds_add_up(home: Home, data_dir: Path) -> None:
    first = reproduce(home, data_dir, "table2", "--rows", "zoneout", "--json")
    assert first.code == 0, first.err
    more = reproduce(home, data_dir, "table2", "--rows", THREE, "--json")
    assert labels(home) == [["zoneout"], ["unregularized", "recurrent-dropout"]]
    assert numbers(more)["zoneout"] == numbers(first)["zoneout"]
    reproduce(home, data_dir, "figure5", "--json")
    assert len(home.runs()) == 2, "the figure's trials are the table's"
    seeds = reproduce(home, data_dir, "table2", "--rows", "zoneout", "--seeds", "2", "--json")
    assert labels(home)[2:] == [["zoneout"]]
    assert numbers(seeds)["zoneout"][:1] == numbers(first)["zoneout"]


def test_fresh_trains_anew_and_finds_the_same_numbers(home: Home, data_dir: Path) -> None:
    first = reproduce(home, data_dir, "table2", "--rows", "zoneout", "--json")
    again = reproduce(home, data_dir, "table2", "--rows", "zoneout", "--fresh", "--json")
    assert numbers(again) == numbers(first)
    (block,) = json.loads(first.out)["blocks"]
    assert block["seconds"] > 0
    assert all(len(commit) == 7 for commit in block["commits"])
    shown = reproduce(home, data_dir, "table2", "--rows", "zoneout", "--show", "--json")
    runs = [json.loads(done.out)["blocks"][0]["runs"] for done in (first, again, shown)]
    assert runs == [[home.runs()[0].name], [home.runs()[1].name], [home.runs()[1].name]], (
        "the newer one is believed"
    )


def test_show_trains_nothing(home: Home, data_dir: Path) -> None:
    done = reproduce(home, data_dir, "table2", "--show", "--json")
    assert (done.code, done.err, home.runs()) == (0, "", [])
    assert set(map(tuple, numbers(done).values())) == {()}


@pytest.mark.parametrize("name", reproductions.names())
def test_with_nothing_run_the_papers_numbers_stand_alone(name: str, home: Home) -> None:
    done = sweep("reproduce", name, "--show", "--home", home.folder, width=60)
    assert done.code == 0, done.err
    assert "Scale: paper" in done.lines
    assert "not run" in done.out
    assert " epochs" in done.out, "no column is cut on a narrow terminal"


def test_what_stopped_on_its_way_is_gone_on_with(home: Home, data_dir: Path) -> None:
    run = runner.begin(
        home, _rows.narrowed(_rows.get("table2", "smoke"), ["zoneout", "unregularized"])
    )
    done = reproduce(home, data_dir, "table2", "--rows", "zoneout,unregularized", "--json")
    assert done.code == 0
    assert f"Going on with run {run.name} in {home.folder}: 2 trials" in done.err
    assert [one.name for one in home.runs()] == [run.name]
    assert all(len(values) == 1 for values in numbers(done).values())


def test_what_a_budget_cut_off_is_trained_by_the_next_command(home: Home, data_dir: Path) -> None:
    """Whether the trials were running then, and so are pruned, or were still waiting."""
    assert not Request(name="table2", settings={"time_budget_s": "0.001"}).changed
    stopped = reproduce(
        home, data_dir, "table2", "--rows", THREE, "--set", "time_budget_s=0.001", "--lanes", "2"
    )
    assert stopped.code == 130
    (run,) = home.runs()
    assert f"{run.name}: budget (" in stopped.err
    assert "The same command goes on with it." in stopped.err
    done = reproduce(home, data_dir, "table2", "--rows", THREE, "--json")
    assert done.code == 0, done.err
    assert [len(values) for values in numbers(done).values()] == [1, 1, 1]


def test_a_run_that_would_train_more_than_is_asked_for_is_not_gone_on_with(
    home: Home, data_dir: Path
) -> None:
    whole = _rows.get("table2", "smoke")
    runner.begin(home, whole)
    asked = _rows.narrowed(whole, ["zoneout"])
    assert reproducing.resumable(home, asked) is None
    assert reproducing.resumable(home, whole) is not None
    assert reproducing.lacking(home, whole) == whole


def test_a_changed_experiment_says_so_and_lies_apart(home: Home, data_dir: Path) -> None:
    done = reproduce(home, data_dir, "table2", "--rows", "zoneout", "--set", "learning_rate=0.01")
    assert "Scale: smoke, with --set learning_rate=0.01" in done.lines
    assert any(line.startswith("Not as in the paper: ") and "learning_rate=0.01 (paper: 0.001)" in line for line in done.lines)  # fmt: skip
    assert done.lines[-1] == f"Numbers: {home.folder}/reproductions/table2-smoke-changed"


def test_what_is_printed(home: Home, data_dir: Path) -> None:
    done = reproduce(home, data_dir, "table2", "--rows", "zoneout,rbn", "--seeds", "2")
    run = home.runs()[0]
    assert done.lines[:6] == [
        "Table 2: error rates on permuted sequential MNIST, paper and ours",
        "Scale: smoke",
        "",
        "Permuted sequential MNIST",
        "Not as in the paper: batch_size=20 (paper: 100), sequence_length=28 (paper: 784), epochs=1 (paper: 150), train_fraction=0.004 (paper: 1.0), eval_fraction=0.01 (paper: 1.0), hidden_size=8 (paper: 100)",
        "",
    ]
    table = [line.split() for line in done.lines[6:11]]
    assert table[:2] == [["Valid"] * 3 + ["Test"] * 3, ["system"] + ["paper", "ours", "(smoke)", "diff"] * 2 + ["seeds", "epochs"]]  # fmt: skip
    zoneout, rbn = table[3:]
    assert zoneout[:3] == ["Zoneout", "0.15", "0.063"]
    assert zoneout[4] == "±"
    assert zoneout[-2:] == rbn[-2:] == ["2", "1"]
    assert rbn[:5] == ["RBN", "(Cooijmans", "et", "al.)", "-"]
    for line in (
        "  Valid: error rate on 10,000 images, masks as expected (valid_error)",
        "  Zoneout 0.15: one mask for cells and states",
        "  RBN (Cooijmans et al.) is not as in the paper: epochs=1 (paper: 200)",
        "  Trained on: cpu, 1 thread",
        f"  Runs: {run.name}",
        f"Numbers: {home.folder}/reproductions/table2-smoke",
    ):
        assert line in done.lines


def test_equal_numbers_give_equal_files(home: Home, data_dir: Path) -> None:
    folder = home.folder / "reproductions" / "figure5-smoke"
    contents = []
    for _ in range(2):
        reproduce(home, data_dir, "figure5", "--rows", "zoneout")
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "1_table2.csv",
        "numbers.json",
        "page.md",
        "figure5.png",
        "figure5.svg",
    }


def test_a_failed_trial_is_shown_and_not_trained_again(home: Home, data_dir: Path) -> None:
    diverging = ("--rows", "zoneout", "--set", "learning_rate=1e30", "--set", "clip_norm=inf")
    done = reproduce(home, data_dir, "table2", *diverging, "--json")
    (row,) = json.loads(done.out)["blocks"][0]["rows"]
    assert row["state"] == "1 failed"
    assert row["reasons"][0].startswith("diverged")
    shown = reproduce(home, data_dir, "table2", *diverging)
    assert f"  Zoneout 0.15, 1 failed: {row['reasons'][0]}" in shown.lines
    assert len(home.runs()) == 1


def test_text8_on_a_text_of_the_same_form(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file as large as valid and test need; the true one is not on the machines that test."""
    letters = np.random.default_rng(0).choice(
        np.frombuffer(b"abcdefghij klmnopqrstuvwxyz", np.uint8), 10_100_000
    )
    (tmp_path / "text8").mkdir()
    (tmp_path / "text8" / "text8").write_bytes(letters.tobytes())
    digest = hashlib.sha256(letters.tobytes()).hexdigest()
    file = replace(text8.TASK.files[0], bytes=len(letters), sha256=digest)
    monkeypatch.setattr(text8, "TASK", replace(text8.TASK, files=(file,)))
    done = reproduce(
        home, tmp_path, "table1", "--rows", "zoneout-0.2", "--set", "train_fraction=0.02", "--json"
    )
    assert done.code == 0, done.err
    ((row,),) = [block["rows"] for block in json.loads(done.out)["blocks"]]
    assert (row["system"], row["state"]) == ("Zoneout 0.2 / 0.2", "complete")


def test_a_checkpoint_that_is_gone_is_said(home: Home, data_dir: Path) -> None:
    arguments = ("figure6", "--rows", "zoneout")
    assert reproduce(home, data_dir, *arguments).code == 0
    (run,) = home.runs()
    for file in [*run.report.glob("*.csv"), *run.checkpoint(0).iterdir()]:
        file.unlink()
    done = reproduce(home, data_dir, *arguments)
    assert (done.code, done.err) == (
        2,
        "error: Figure 6 is measured on the trained parameters, but run "
        f"{run.name} has no checkpoint of trial 0 any more. Train it again, at the same --scale, with: "
        f"sweep reproduce figure6 --fresh --home {home.folder}\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tabel1"],
            "There is no reproduction named 'tabel1'. Did you mean 'table1'? What exists: figure3, figure4, figure5, "
            "figure6, figure7, table1, table2, text-numbers, toys.",
        ),
        (
            ["table2", "--rows", "zonout"],
            "There is no row of table2 named 'zonout'. Did you mean 'zoneout'? What exists: rbn, rbn-zoneout, "
            "recurrent-dropout, unregularized, zoneout.",
        ),
        (
            ["table2", "--scale", "smal"],
            "There is no scale of table2 named 'smal'. Did you mean 'small'? What exists: paper, small, smoke.",
        ),
        (
            ["table2", "--set", "zoneout_mask=separate"],
            "regularizer.zoneout.zoneout_mask is searched by the space of sweep table2, so it cannot be set. Leave it out.",
        ),
        (
            ["figure3", "--set", "num_trials=4"],
            "A reproduction needs all trials of its sweeps, but num_trials=4 leaves 4 of 36 points of the grid, the first in "
            "its order, of figure3. Leave num_trials out, or train a part of figure3 with `sweep run` and the same --set.",
        ),
    ],
)
def test_errors_are_told_before_anything_begins(
    home: Home, arguments: list[str], message: str
) -> None:
    done = sweep("reproduce", *arguments, "--home", home.folder, "--inline")
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")
    assert not home.folder.exists()


def test_every_row_of_every_reproduction_is_a_trial_of_its_definition() -> None:
    for name in reproductions.names():
        for block in reproductions.get(name).blocks:
            known = _rows.labels(_rows.get(block.sweep, "paper"))
            assert {row.label for row in block.rows} <= {*known, ""}, (name, block.title)
            for scale in ("smoke", "small", "paper"):
                pairs = reproducing.blocks(reproductions.get(name), Request(name=name, scale=scale))
                assert all(found_trials.wanted(one) for _, one in pairs)
