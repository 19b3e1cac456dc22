import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.trial_row import TrialRow
from sweeps.books import trial_rows
from sweeps.books.story import Story
from sweeps.tracking.delivery import Delivery
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import EXPERIMENT
from zoneout_core.errors import RunError
from zoneout_core.records import CHARACTERS


@pytest.fixture
def run(tmp_path: Path) -> RunMaker:
    """A closed run with a trial in every state."""
    run = RunMaker(tmp_path / "home" / "run1", epochs=3)
    run.driver()
    run.complete(0, z_cells=0.1, z_states=1 / 3, seed=2)
    run.pruned(1, epoch=2)
    run.failed(2, epoch=1)
    run.trial(3)
    run.closed("interrupted", "Ctrl-C")
    return run


@pytest.fixture
def rows(run: RunMaker) -> list[TrialRow]:
    return trial_rows.rows(Story.of(run.folder / "journal.jsonl"))


def test_a_row_per_trial_with_exact_numbers(rows: list[TrialRow]) -> None:
    frame, final = load.from_rows(rows, CHARACTERS), rows[0].final or {}
    assert list(frame.columns) == [
        *load.COLUMNS,
        *CHARACTERS.final,
        "regularizer.zoneout.z_cells",
        "regularizer.zoneout.z_states",
    ]
    assert frame["trial"].tolist() == [0, 1, 2, 3]
    assert frame["state"].tolist() == ["complete", "pruned", "failed", "interrupted"]
    assert frame["epoch"].tolist() == [3, 2, 1, 0]
    first = frame.iloc[0]
    assert (
        first["regularizer.zoneout.z_cells"],
        first["regularizer.zoneout.z_states"],
        first["seed"],
    ) == (
        0.1,
        1 / 3,
        2,
    )
    assert first["valid_chunked_bpc"] == final["valid_chunked_bpc"]
    assert first["best_epoch"] == 3.0
    assert np.isnan(frame.loc[1:, "test_stream_bpc"]).all()


def test_a_row_per_epoch(rows: list[TrialRow]) -> None:
    frame = load.curves_from_rows(rows, CHARACTERS)
    assert list(frame.columns) == ["trial", "epoch", "train_bpc", "valid_chunked_bpc", "grad_norm"]
    assert list(zip(frame["trial"], frame["epoch"], strict=True)) == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    assert frame["valid_chunked_bpc"].iloc[2] == (rows[0].final or {})["valid_chunked_bpc"]


def test_order_of_rows_does_not_matter(rows: list[TrialRow]) -> None:
    pd.testing.assert_frame_equal(
        load.from_rows(rows[::-1], CHARACTERS), load.from_rows(rows, CHARACTERS)
    )


def test_no_rows_give_an_empty_table() -> None:
    assert list(load.from_rows([], CHARACTERS).columns) == [*load.COLUMNS, *CHARACTERS.final]
    assert load.curves_from_rows([], CHARACTERS).empty


def test_hyperparameters_that_are_words_stay_words(rows: list[TrialRow]) -> None:
    rows[0].params["optim.clip"] = "update"
    frame = load.from_rows(rows, CHARACTERS)
    assert frame["optim.clip"].iloc[0] == "update"
    assert frame["optim.clip"].isna().tolist() == [False, True, True, True]


@pytest.mark.parametrize("given", [True, 16, 0.1, "update", float("inf")])
def test_a_hyperparameter_is_the_same_from_a_journal_and_as_text_from_mlflow(given: Any) -> None:
    assert load.plain("some.key", given) == load.plain("some.key", str(given))


def test_mlflow_gives_the_same_tables_as_the_journal(
    run: RunMaker, rows: list[TrialRow], tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    assert Delivery(run.folder, uri, EXPERIMENT).deliver() == 0
    pd.testing.assert_frame_equal(
        load.trials(uri, EXPERIMENT, "run1"), load.from_rows(rows, CHARACTERS)
    )
    pd.testing.assert_frame_equal(
        load.curves(uri, EXPERIMENT, "run1"), load.curves_from_rows(rows, CHARACTERS)
    )
    with pytest.raises(RunError) as error:
        load.trials(uri, EXPERIMENT, "run2")
    assert str(error.value) == (
        f"MLflow must have the run 'run2' in experiment 'figure3', but there is no trial of it at {uri}."
    )


def test_importing_the_analysis_is_cheap(repo_root: Path) -> None:
    code = (
        "import sys, analysis.load, analysis.plane, analysis.heatmap, analysis.report\n"
        "print([name for name in ('mlflow', 'pandas', 'matplotlib', 'torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
