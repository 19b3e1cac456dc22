"""One table of trials: a number that is added in one place is in every table that people see."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from analysis import load
from sweeps.books import export, trial_rows
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from sweeps.paper import found_trials
from sweeps.paper.found_trials import FoundTrial
from sweeps.tracking import fields
from tests.sweeps.journals import RunMaker
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import CHARACTERS

WIDER = replace(
    CHARACTERS,
    epoch=(*CHARACTERS.epoch, "hidden_norm"),
    final=(*CHARACTERS.final, "test_accuracy"),
)
"""What a task reports that measures two numbers more."""


@pytest.fixture
def story(tmp_path: Path) -> Story:
    run = RunMaker(tmp_path / "run1", epochs=2)
    run.metrics = WIDER
    run.driver()
    run.complete(0)
    run.pruned(1, epoch=1)
    return Story.of(run.folder / "journal.jsonl")


def test_a_number_more_that_a_task_measures_is_in_every_table(story: Story, tmp_path: Path) -> None:
    rows = trial_rows.rows(story)
    hidden_norm = rows[0].records[-1].metrics["hidden_norm"]
    test_accuracy = (rows[0].final or {})["test_accuracy"]
    exported, epochs = export.rows(story), export.rows(story, curves=True)
    assert exported[0]["last_hidden_norm"] == epochs[1]["hidden_norm"] == hidden_norm
    assert exported[0]["best_test_accuracy"] == test_accuracy
    assert exported[1]["best_test_accuracy"] is None
    points = {(key, epoch): value for key, value, _, epoch in fields.trial_points(rows[0])}
    assert points["hidden_norm", 2] == hidden_norm
    assert points["best_test_accuracy", 2] == test_accuracy
    assert load.from_rows(rows, WIDER)["test_accuracy"][0] == test_accuracy
    assert load.curves_from_rows(rows, WIDER)["hidden_norm"][1] == hidden_norm
    found = [FoundTrial(RunFolder(tmp_path), TrialConfig(), story.trials[0])]
    assert found_trials.trials(found)["test_accuracy"][0] == test_accuracy
    assert found_trials.curves(found)["hidden_norm"][1] == hidden_norm


def test_a_row_is_written_and_read_as_json(story: Story) -> None:
    for row in trial_rows.rows(story):
        again = msgspec.json.decode(msgspec.json.encode(row), type=type(row))
        assert again.facts() == row.facts()
        assert again.final == row.final


EDITS = {
    "zoneout_core/records.py": [
        (
            "    updates: int\n",
            "    memory_bytes: int = 7\n    updates: int\n",
        ),
        (
            "    device: str\n",
            '    compiler: str = "gcc"\n    device: str\n',
        ),
    ],
    "analysis/trial_row.py": [
        (
            "    shape_key: str\n",
            "    attempts: int = 3\n    shape_key: str\n",
        )
    ],
}
"""One line for each kind of number that is no task's own."""
SCRIPT = """
import json
import sys
from pathlib import Path

from analysis import load
from sweeps.books import export, trial_rows
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from sweeps.paper import found_trials
from sweeps.tracking import fields
from tests.sweeps.journals import RunMaker
from zoneout_core.config.trial import TrialConfig

run = RunMaker(Path(sys.argv[1]) / "run1", epochs=1)
run.driver()
run.complete(0)
story = Story.of(run.folder / "journal.jsonl")
(row,) = trial_rows.rows(story)
found = [found_trials.FoundTrial(RunFolder(run.folder), TrialConfig(), story.trials[0])]
print(json.dumps({
    "journal": run.journal.path.read_text(),
    "trials": list(export.rows(story)[0]),
    "epochs": list(export.rows(story, curves=True)[0]),
    "points": sorted({point[0] for point in fields.trial_points(row)}),
    "tags": sorted(fields.trial_tags(row)),
    "frame": list(load.from_rows([row], row.metrics)),
    "found": list(found_trials.trials(found)),
    "found_epochs": list(found_trials.curves(found)),
}))
"""


def test_one_line_adds_a_number_of_every_task(repo_root: Path, tmp_path: Path) -> None:
    """docs/architecture.md promises it: here in a copy of the code, with these lines added."""
    copy = tmp_path / "copy"
    for package in ("analysis", "search_spaces", "sweeps", "tests", "zoneout_core"):
        ignored = shutil.ignore_patterns("__pycache__", "data", "docker")
        shutil.copytree(repo_root / package, copy / package, ignore=ignored)
    shutil.copytree(repo_root / "zoneout_core" / "data", copy / "zoneout_core" / "data")
    for file, edits in EDITS.items():
        text = (copy / file).read_text()
        for before, after in edits:
            assert text.count(before) == 1, f"{before!r} in {file}"
            text = text.replace(before, after)
        (copy / file).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert '"memory_bytes":7' in seen["journal"]
    assert '"compiler":"gcc"' in seen["journal"]
    assert "memory_bytes" in seen["trials"]
    assert "memory_bytes" in seen["epochs"]
    assert "memory_bytes" in seen["found_epochs"]
    assert "epoch_memory_bytes" in seen["points"]
    assert "zoneout.compiler" in seen["tags"]
    assert "zoneout.attempts" in seen["tags"]
    for where in ("trials", "frame", "found"):
        assert "attempts" in seen[where], where
