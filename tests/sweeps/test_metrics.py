"""What trials report depends on their task: through journal, table, terminal, MLflow and back, for
every kind there is."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from analysis import load
from search_spaces import NOTHING, Choice, Product, Switch
from sweeps import definition
from sweeps.books import export, trial_rows
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from sweeps.cli import progress
from sweeps.cli.picture import measured, picture
from sweeps.definition import Sweep
from sweeps.report import has_plane, rewrite_report, write_report
from sweeps.tracking.delivery import Delivery
from tests.sweeps.driven import begin, drive_inline, tiny
from tests.sweeps.journals import BEGAN, RunMaker
from tests.sweeps.stores import EXPERIMENT, stored
from zoneout_core import tasks
from zoneout_core.errors import RunError
from zoneout_core.records import CHARACTERS, CLASSES, CONSISTENCY, CURRICULUM, WORDS, Metrics

KINDS = {tasks.get(name).metrics.objective: name for name in tasks.names()}
"""A task for each kind of metrics."""


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> RunMaker:
    """A run of that task with a trial in every state."""
    made = RunMaker(tmp_path / "home" / "run1", epochs=2, task=request.param)
    made.driver()
    made.complete(0)
    made.complete(1, z_cells=0.0)
    made.pruned(2, epoch=1)
    made.failed(3, epoch=1)
    made.trial(4)
    made.closed("interrupted", "Ctrl-C")
    return made


def story(made: RunMaker) -> Story:
    return Story.of(made.folder / "journal.jsonl")


def sweep(made: RunMaker) -> Sweep:
    """The demo, of that task."""
    demo = definition.get("demo")
    return replace(demo, base=replace(demo.base, task=made.task, epochs=2))


def said(told: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(told)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_tables_columns_are_the_tasks(made: RunMaker) -> None:
    told, metrics = story(made), made.metrics
    table = export.rows(told, times=False)
    assert [name for name in table[0] if name.startswith("last_")] == [
        f"last_{name}" for name in metrics.epoch
    ]
    best = [f"best_{name}" for name in metrics.final]
    assert [name for name in table[0] if name.startswith("best_")] == ["best_epoch", *best]
    (last,) = (record.metrics[metrics.objective] for record in [told.trials[0].records[2]])
    assert table[0][f"best_{metrics.objective}"] == last
    header, *lines = csv.reader(
        io.StringIO(export.render(export.rows(told, curves=True, times=False), "csv"))
    )
    assert header[-len(metrics.epoch) :] == list(metrics.epoch)
    assert len(lines) == 2 + 2 + 1 + 1


def test_best_is_the_lowest_objective(made: RunMaker) -> None:
    told = story(made)
    values = {number: trial.best_value for number, trial in told.trials.items() if number != 3}
    assert told.best is not None
    assert told.best.best_value == min(value for value in values.values() if value is not None)


def test_a_terminal_says_the_objective_with_its_unit(
    made: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    told = story(made)
    text = said(picture(told, sweep(made), BEGAN + 5))
    assert f" {made.metrics.unit} (z_cells=" in text
    for heading in measured(made.metrics):
        assert f" {heading} " in text
    with progress.live(growing := Story(), sweep(made)):
        for event in made.journal.events():
            growing.add(event)
    assert f" {made.metrics.unit}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        (CHARACTERS, {"train": "train_bpc", "valid": "valid_chunked_bpc"}),
        (WORDS, {"train": "train_perplexity", "valid": "valid_perplexity"}),
        (CLASSES, {"train": "train_error", "valid": "valid_error"}),
        (CURRICULUM, {"train loss": "train_loss", "valid": "valid_shortfall"}),
        (CONSISTENCY, {"train": "train_cost"}),
    ],
    ids=lambda value: value.objective if isinstance(value, Metrics) else "",
)
def test_columns_without_a_unit_have_the_objectives(
    metrics: Metrics, shown: dict[str, str]
) -> None:
    assert measured(metrics) == shown


def test_mlflow_alone_gives_the_same_tables_as_the_journal(made: RunMaker, uri: str) -> None:
    assert Delivery(made.folder, uri, EXPERIMENT).deliver() == 0
    rows = trial_rows.rows(story(made))
    metrics, _ = load.stored(uri, EXPERIMENT, "run1", curves=False)
    assert metrics == made.metrics
    pd.testing.assert_frame_equal(
        load.trials(uri, EXPERIMENT, "run1"), load.from_rows(rows, metrics)
    )
    pd.testing.assert_frame_equal(
        load.curves(uri, EXPERIMENT, "run1"), load.curves_from_rows(rows, metrics)
    )
    parent = stored(uri)["run1"]
    assert [step for step, _, _ in parent.history[f"best_{metrics.objective}"]] == [1, 2, 3, 4]


def test_the_heatmap_is_of_the_objective(made: RunMaker) -> None:
    files = write_report(RunFolder(made.folder), sweep(made), story(made))
    header = next(file for file in files if file.suffix == ".csv").read_text().partition("\n")[0]
    counts = "complete,pruned,failed,interrupted,seeds"
    assert (
        header
        == f"regularizer.zoneout.z_cells,regularizer.zoneout.z_states,{made.metrics.objective},{counts}"
    )


ROWS = Switch(
    "label",
    (
        ("no regularizer", NOTHING),
        ("zoneout", Product((Choice("z_cells", (0.5,)), Choice("z_states", (0.05, 0.1))))),
    ),
)


def test_rows_of_a_table_go_all_the_way(tmp_path: Path, uri: str) -> None:
    """Labels are drawn by Optuna, trained, journalled, exported, and come back from MLflow as
    text."""
    rows = replace(tiny(), space=ROWS, seeds=(0, 1))
    run = begin(tmp_path / "home", rows)
    drive_inline(run, rows)
    labels = ["no regularizer", "zoneout", "zoneout"] * 2
    table = export.rows(run.story(), times=False)
    assert [(row["label"], row.get("regularizer.zoneout.z_states")) for row in table[:3]] == [
        ("no regularizer", None), ("zoneout", 0.05), ("zoneout", 0.1),
    ]  # fmt: skip
    assert [row["label"] for row in table] == labels
    assert {row["state"] for row in table} == {"complete"}
    text = said(picture(run.story(), rows, BEGAN))
    assert " no regularizer " in text
    assert " z_states=0.05 " in text, "z_cells=0.5 is what the row is, and needs no word"
    assert Delivery(run.folder, uri, EXPERIMENT).deliver() == 0
    assert load.trials(uri, EXPERIMENT, run.name)["label"].tolist() == labels


def test_a_plane_of_which_only_some_trials_are_is_no_heatmap(tmp_path: Path) -> None:
    rows = replace(tiny(), space=ROWS)
    assert has_plane(tiny())
    assert not has_plane(rows)
    run = begin(tmp_path, rows)
    with pytest.raises(RunError) as error:
        rewrite_report(run)
    assert str(error.value) == (
        f"A heatmap needs trials over regularizer.zoneout.z_cells and regularizer.zoneout.z_states, but run {run.name} "
        f"has in each of them label. See its numbers with: sweep export {run.name} --home {tmp_path}"
    )


def test_a_label_that_looks_like_a_number_stays_a_label(tmp_path: Path) -> None:
    made = RunMaker(tmp_path / "run1", epochs=1)
    made.driver()
    made.complete(0)
    rows = trial_rows.rows(story(made))
    rows[0].params["label"] = "1e3"
    assert load.from_rows(rows, CHARACTERS)["label"].tolist() == ["1e3"]
