"""The report of a run: what its caption claims, what it says where there is nothing to draw, and
equal bytes."""

import csv
import io
import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import load
from analysis.paper_table import TableRow, compute
from analysis.trial_row import TrialRow
from search_spaces import CHECKED, Choice, Product, Range, Space, Switch
from sweeps.books import trial_rows
from sweeps.books.run_folder import Home, RunFolder
from sweeps.definition import Sweep
from sweeps.definitions import _rows
from sweeps.paper import reproducing
from sweeps.paper.reproducing import Request
from sweeps.report import caption, rewrite_report, searched, write_report
from sweeps.tracking.delivery import Delivery, Tracking
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import begin, command, drive_inline, settings, tiny
from tests.sweeps.stores import EXPERIMENT
from zoneout_core.errors import RunError, UnknownName
from zoneout_core.records import TrialState

X, Y, H, LR = (
    "regularizer.zoneout.z_cells",
    "regularizer.zoneout.z_states",
    "model.hidden_size",
    "optim.learning_rate",
)
PLANE = Product((Choice(X, (0.0, 0.5)), Choice(Y, (0.0, 0.05))))


def over(space: Space, **changes: Any) -> Sweep:
    """A tiny sweep over another space."""
    return replace(tiny(epochs=1), space=space, **changes)


def lines(run: RunFolder) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((run.report / "heatmap.csv").read_text())))


@pytest.fixture(scope="module")
def four_keys(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run over a plane, two sizes and a setting that is true or false."""
    definition = over(Product((PLANE, Choice("output_offset", (False, True)), Choice(H, (4, 8)))))
    run = begin(tmp_path_factory.mktemp("four"), definition)
    drive_inline(run, definition)
    return run


def test_every_number_of_the_plane_is_of_one_point(four_keys: RunFolder) -> None:
    """On more than two keys the picture has a panel for each combination, and its best is the best
    trial's."""
    story = four_keys.story()
    by_point = {
        tuple(
            str(load.plain(key, trial.params[key])) for key in (X, Y, "cell.output_offset", H)
        ): trial.final
        for trial in story.trials.values()
    }
    for line in lines(four_keys):
        final = by_point[line[X], line[Y], line["cell.output_offset"], line[H]]
        assert final is not None
        assert float(line["valid_chunked_bpc"]) == final["valid_chunked_bpc"]
        assert (line["complete"], line["seeds"]) == ("1", "1")
    assert len(lines(four_keys)) == 16
    assert story.best is not None
    assert (
        min(float(line["valid_chunked_bpc"]) for line in lines(four_keys)) == story.best.best_value
    )


def test_the_caption_claims_only_what_all_trials_have(four_keys: RunFolder) -> None:
    definition = four_keys.definition()
    frame = load.from_rows(trial_rows.rows(four_keys.story()), definition.metrics)
    said = caption("a run", definition, frame)
    assert (said.model, said.epochs) == ("LSTM", 1), (
        "half of the trials have H=4, half 8, none the base's"
    )
    same = replace(definition, space=Product((PLANE, Choice(H, (4,)))))
    assert caption("a run", same, frame[frame[H] == 4]).model == "LSTM, H = 4"
    cells = replace(definition, space=Product((PLANE, Choice("model.cell", ("lstm", "ln_lstm")))))
    told = frame.assign(**{"model.cell": "ln_lstm", H: 8.0})
    assert caption("a run", cells, told).model == "LN-LSTM, H = 8"


def test_a_setting_that_only_some_trials_have_is_the_bases_in_the_others() -> None:
    both = Switch("label", (("small", Product((PLANE, Choice(H, (4,))))), ("as the base", PLANE)))
    definition = over(both)
    points = definition.search_space.grid()
    frame = load.from_rows(
        [
            TrialRow(
                trial=number,
                seed=0,
                state=TrialState.COMPLETE,
                reason="",
                shape_key="",
                epoch=0,
                params=point,
                metrics=definition.metrics,
            )
            for number, point in enumerate(points)
        ],
        definition.metrics,
    )
    assert caption("a run", definition, frame).hidden is None
    assert caption("a run", definition, frame[frame["label"] == "as the base"]).hidden == 8


def test_a_recurrence_on_two_numbers_is_not_called_a_network() -> None:
    definition = over(PLANE)
    toy = replace(definition, base=replace(definition.base, task="semantic_consistency"))
    frame = load.from_rows([], toy.metrics)
    assert caption("a run", toy, frame).model == ""


def test_a_figures_subtitle_claims_the_network_that_all_rows_have_and_the_seeds_that_completed() -> (
    None
):
    request = Request(name="table2", scale="paper")

    def subtitle(name: str, labels: list[str], seeds: list[int]) -> str:
        """Of rows of which so many seeds completed."""
        sweep = _rows.narrowed(_rows.get(name, "paper"), labels).with_values({"seeds": "0,1,2"})
        lines = [
            (label, seed, "complete", "", 1, "cpu")
            for label, number in zip(labels, seeds, strict=True)
            for seed in range(number)
        ]
        frame = pd.DataFrame(
            lines, columns=["label", "seed", "state", "reason", "epoch", "hardware"]
        )
        table = compute(
            frame, "", "paper", [], [TableRow(title=label, label=label) for label in labels]
        )
        return reproducing.subtitle(sweep, request, table)

    alike = ["unregularized", "zoneout"]
    assert (
        subtitle("table2", alike, [3, 3])
        == "sequential_mnist  ·  LSTM, H = 100  ·  3 seeds  ·  scale: paper"
    )
    assert "  ·  1-3 of 3 seeds  ·  " in subtitle("table2", alike, [1, 3])
    assert "  ·  2 of 3 seeds  ·  " in subtitle("table2", alike, [2, 0]), (
        "a row that was not run says so itself"
    )
    differing = subtitle("table2", ["zoneout", "rbn"], [3, 3])
    assert differing == "sequential_mnist  ·  H = 100  ·  3 seeds  ·  scale: paper", (
        "one of the rows is no plain LSTM"
    )
    assert (
        subtitle("consistency", alike, [3, 3])
        == "semantic_consistency  ·  3 seeds  ·  scale: paper"
    )


def test_mlflow_and_the_journal_give_the_same_bytes_on_four_keys(
    four_keys: RunFolder, uri: str
) -> None:
    before = {file.name: file.read_bytes() for file in four_keys.report.iterdir()}
    assert Delivery(four_keys.folder, uri, EXPERIMENT).deliver() == 0
    Tracking(uri, EXPERIMENT).save(four_keys)
    rewrite_report(four_keys, from_mlflow=True)
    assert {file.name: file.read_bytes() for file in four_keys.report.iterdir()} == before


def test_other_axes_can_be_asked_for(four_keys: RunFolder, tmp_path: Path) -> None:
    files = rewrite_report(four_keys, x_axis="hidden_size", y_axis="z_cells")
    assert len(files) == 3
    assert list(lines(four_keys)[0])[:2] == [H, X]
    with pytest.raises(
        UnknownName, match=r"setting named 'hiden_size'\. Did you mean 'hidden_size'"
    ):
        rewrite_report(four_keys, x_axis="hiden_size")
    rewrite_report(four_keys)


def test_what_is_known_of_the_space() -> None:
    whole = searched(over(PLANE, seeds=(0, 1)))
    assert whole.has_every_key
    assert (whole.keys, len(whole.points)) == ((X, Y), 8)
    assert {point["seed"] for point in whole.points} == {0, 1}
    endless = searched(
        over(Product((PLANE, Range(LR, 1e-4, 1e-2))), sampler="random", num_trials=3)
    )
    assert (endless.keys, endless.has_every_key) == ((X, Y, LR), False)
    assert [dict(point) for point in endless.points] == [
        {X: x, Y: y} for x in (0.0, 0.5) for y in (0.0, 0.05)
    ]
    large = Product(
        (PLANE, Choice("epochs", tuple(range(1, 101))), Choice(H, tuple(range(1, 101))))
    )
    vast = searched(over(large, sampler="random", num_trials=3))
    assert len(list(large.corners())) > CHECKED
    assert (vast.has_every_key, len(vast.points)) == (False, 4)


SOME = Switch("label", (("a", PLANE), ("b", Product(()))))
EXPORT = "See its numbers with: sweep export"


@pytest.mark.parametrize(
    ("space", "problem", "instead"),
    [
        (
            Range(LR, 1e-4, 1e-2),
            f"trials over {X} and {Y}, but run RUN has in each of them {LR}",
            EXPORT,
        ),
        (SOME, f"trials over {X} and {Y}, but run RUN has in each of them label", EXPORT),
        (
            Product(()),
            f"trials over {X} and {Y}, but run RUN has in each of them nothing that is searched",
            EXPORT,
        ),
        (
            Product((Choice(H, (4, 8)), Choice(LR, (1e-3, 1e-2)))),
            f"trials over {X} and {Y}, but run RUN has in each of them {H}, {LR}",
            "Draw it over others with: sweep report",
        ),
        (
            Product((Choice(X, (0.0, 0.5)), Range(Y, 0.0, 0.5))),
            f"axes of listed values, but in run RUN {Y} is any number from 0 to 0.5",
            EXPORT,
        ),
    ],
    ids=["one endless key", "only some trials", "nothing", "other keys", "endless axis"],
)
def test_where_no_plane_can_be_drawn_run_and_report_say_so_in_one_line(
    space: Space, problem: str, instead: str, tmp_path: Path
) -> None:
    definition = over(space, sampler="random", num_trials=1)
    run, said = begin(tmp_path, definition), list[str]()
    outcome = drive_inline(run, definition, say=said.append)
    assert (outcome.state, outcome.report) == ("finished", [])
    (line,) = [one for one in said if "heatmap" in one]
    rest = f" --x-axis {H} --y-axis {LR}" if "Draw it" in instead else ""
    assert (
        line
        == f"A heatmap needs {problem.replace('RUN', run.name)}. {instead} {run.name} --home {tmp_path}{rest}"
    )
    assert not run.report.exists()
    done = sweep("report", run.name, *home_of(run))
    assert done.code != 0
    assert line in done.err
    if rest:
        assert (
            sweep("report", run.name, *home_of(run), "--x-axis", "hidden_size", "--y-axis", LR).code
            == 0
        )


def test_one_key_twice_is_no_plane(four_keys: RunFolder) -> None:
    with pytest.raises(RunError) as error:
        rewrite_report(four_keys, x_axis="z_states")
    assert str(error.value).startswith(
        f"A heatmap needs two axes, but in run {four_keys.name} both are {Y}. Draw it"
    )


def test_ctrl_c_before_the_first_record_draws_nothing_and_says_why(tmp_path: Path) -> None:
    """As a process of its own, whose epochs take far longer than it has."""
    long = {
        "hidden_size": "8",
        "epochs": "1",
        "threads": "1",
        "batch_size": "2",
        "sequence_length": "400",
    }
    driver = subprocess.Popen(
        command(tmp_path, "run", "demo", *settings(long), "--inline", "--tracking", "none"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not any(
        trial.placement for run in Home(tmp_path).runs() for trial in run.story().trials.values()
    ):
        assert time.monotonic() < until, "no trial within two minutes"
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=120)
    run = Home(tmp_path).run("latest")
    assert driver.returncode == 130, err
    assert not any(trial.records for trial in run.story().trials.values())
    line = f"no trial of run {run.name} has a number yet. Go on with: sweep resume {run.name} --home {tmp_path}\n"
    assert f"A heatmap needs a complete trial, but {line}" in err
    assert "Heatmap:" not in out
    assert not run.report.exists()
    assert line in sweep("report", "latest", "--home", tmp_path).err
    assert not run.report.exists()


def test_trials_with_numbers_of_which_none_is_complete_are_no_picture_either(
    tmp_path: Path,
) -> None:
    definition = replace(tiny(epochs=3), scheduler="asha", num_trials=1)
    run = begin(tmp_path, definition)
    drive_inline(run, definition)
    story = run.story()
    story.trials[0].state = TrialState.PRUNED
    with pytest.raises(
        RunError, match=rf"no trial of run {run.name} is complete yet\. See why with: sweep status"
    ):
        write_report(run, definition, story)


@pytest.mark.parametrize("seconds", [0.0, 0.01], ids=["asked to stop", "budget spent"])
def test_the_picture_of_a_run_that_stopped_is_the_one_that_report_draws(
    seconds: float, tmp_path: Path
) -> None:
    """The driver draws it before it puts unfinished trials back, and still says what becomes of
    them."""
    definition = replace(over(PLANE, lanes=1), base=replace(tiny().base, epochs=1))
    run = begin(tmp_path, replace(definition, num_trials=1))
    drive_inline(run, replace(definition, num_trials=1))
    more = replace(definition, time_budget_s=seconds)
    run.write_definition(more)

    class Stop:
        """Asks for it before a trial runs."""

        def __init__(self, story: object, sweep: Sweep) -> None:
            run.request_stop()

        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None: ...

    outcome = drive_inline(run, more, watch=None if seconds else Stop)
    assert outcome.state == ("budget" if seconds else "interrupted")
    drawn = {file.name: file.read_bytes() for file in run.report.iterdir()}
    rewrite_report(run)
    assert {file.name: file.read_bytes() for file in run.report.iterdir()} == drawn


def test_a_grid_that_a_budget_cuts_says_so_everywhere(tmp_path: Path) -> None:
    cut = "4 of 9 points of the grid, the first in its order"
    how = ["--inline", "--tracking", "none", "--home", tmp_path]
    done = sweep("run", "demo", *settings(), "--set", "num_trials=4", "--set", "epochs=1", *how)
    run = Home(tmp_path).run("latest")
    assert done.err.splitlines()[:2] == [f"Run {run.name} in {tmp_path}", cut]
    assert f"4 of 4 trials: 4 complete ({cut})" in done.out
    assert f"4 of 4 trials: 4 complete ({cut})" in " ".join(
        sweep("status", "latest", *home_of(run)).out.split()
    )
    assert json.loads(sweep("status", "latest", *home_of(run), "--json").out)["cut"] == cut
    shown = sweep("show", "demo", "--set", "num_trials=4").lines
    assert f"Searched, {cut}:" in shown
    frame = load.from_rows(trial_rows.rows(run.story()), run.definition().metrics)
    assert caption("a run", run.definition(), frame).note == cut
    assert len(lines(run)) == 9
    assert [line["complete"] for line in lines(run)].count("0") == 5
    whole = sweep("show", "demo", "--set", "num_trials=9").lines
    assert "Searched, 9 trials:" in whole
