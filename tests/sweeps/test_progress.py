"""How a sweep looks while it runs: the picture of a moment, the lines of a log, and a real
terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from search_spaces import Choice, Product
from sweeps import definition
from sweeps.books.run_folder import Home
from sweeps.books.story import Story, TrialStory
from sweeps.cli import progress, text
from sweeps.cli.picture import pace, picture
from sweeps.definition import Sweep
from tests.sweeps.driven import command, settings
from tests.sweeps.journals import BEGAN, RunMaker

SWEEP = definition.get("demo").with_values({"epochs": "3"})


@pytest.fixture
def maker(tmp_path: Path) -> RunMaker:
    """A run of trials of three epochs, whose driver began at `BEGAN`."""
    made = RunMaker(tmp_path / "run", epochs=3)
    made.driver()
    return made


def story(maker: RunMaker) -> Story:
    return Story.of(maker.folder / "journal.jsonl")


def drawn(
    told: Story,
    sweep: Sweep = SWEEP,
    seconds: float = 65.0,
    rows: int | None = None,
    width: int = 80,
) -> list[str]:
    """The lines of the picture, so many seconds after the driver began."""
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(picture(told, sweep, BEGAN + seconds, rows))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_picture_of_a_motley_run(maker: RunMaker) -> None:
    maker.complete(0, z_cells=0.0, z_states=0.0)
    maker.pruned(1, 2, z_cells=0.0, z_states=0.05)
    maker.failed(2, 1)
    maker.trial(3, z_cells=0.25, z_states=0.0)
    maker.record(3, 1, 1.5)
    maker.trial(4, z_cells=0.25, z_states=0.05)
    assert drawn(story(maker)) == [
        "10 of 27 epochs, 1 min 05 s, about 2 min 38 s left",
        "━" * 22,
        "5 of 9 trials: 2 running, 1 complete, 1 pruned, 1 failed",
        "best: trial 3, epoch 1: 1.5000 bpc (z_cells=0.25, z_states=0)",
        "",
        " trial  z_cells  z_states  epoch   train   valid  time  state",
        " " + "─" * 78,
        "     0        0         0    3/3  1.7304  1.8304  0:00  complete",
        "     1        0      0.05    2/3  1.9480  2.0480  0:00  pruned",
        "     2      0.5      0.05    1/3  2.4000  2.5000  0:00  failed: diverged: the",
        "                                                        loss of epoch 2 is not",
        "                                                        finite",
        "     3     0.25         0    1/3  1.4000  1.5000  1:03  running (best)",
        "     4     0.25      0.05    0/3                  1:03  running",
        "",
    ]


def test_before_the_first_trial_it_says_that_it_starts(maker: RunMaker) -> None:
    assert drawn(story(maker), seconds=7) == ["0 of 27 epochs, 7 s, starting", "", "0 of 9 trials"]


def test_before_the_first_record_it_shows_what_runs_and_since_when(maker: RunMaker) -> None:
    maker.trial(0)
    lines = drawn(story(maker), seconds=3725.2)
    assert lines[0] == "0 of 27 epochs, 1 h 02 min"
    assert lines[-2].split() == ["0", "0.5", "0.05", "0/3", "1:02:05", "running"]


def test_the_time_left_is_of_this_driver_alone(maker: RunMaker) -> None:
    maker.complete(0)
    maker.closed("interrupted", "stopped by SIGINT")
    before = story(maker)
    assert pace(before, SWEEP, BEGAN + 1000) == "3 of 27 epochs, 1 s", (
        "closed: the clock stands still"
    )
    maker.driver()
    maker.trial(1)
    maker.record(1, 1, 2.0)
    told = story(maker)
    assert told.driver is not None
    now = told.driver.time + 10  # one epoch in ten seconds, 23 are left
    assert pace(told, SWEEP, now) == "4 of 27 epochs, 10 s, about 3 min 50 s left"


def test_trials_may_be_of_different_length(maker: RunMaker) -> None:
    maker.complete(0)
    maker.epochs = 7
    maker.trial(1)
    maker.record(1, 1, 2.0)
    lines = drawn(story(maker))
    assert lines[0].startswith("4 of 31 epochs, "), (
        "3 and 7, and as many as the base has for the seven to come"
    )
    assert [line.split()[3] for line in lines[7:9]] == ["3/3", "1/7"]


def test_nothing_is_left_at_the_end(maker: RunMaker) -> None:
    for number in range(9):
        maker.complete(number)
    assert pace(story(maker), SWEEP, BEGAN + 30) == "27 of 27 epochs, 30 s"


def test_a_small_window_keeps_the_running_ones_and_the_best(maker: RunMaker) -> None:
    for number in range(6):
        maker.complete(number, z_cells=0.5 if number == 1 else 0.0)
    maker.trial(6)
    lines = drawn(story(maker), rows=3)
    assert [line.split()[0] for line in lines[7:10]] == ["1", "5", "6"]
    assert lines[7].endswith("complete (best)")
    assert lines[-1] == " and 4 more"


def test_eighty_columns_hold_a_plane_with_seeds(maker: RunMaker) -> None:
    maker.trial(0)
    sweep = SWEEP.with_values({"seeds": "0,1", "epochs": "100"})
    assert (
        drawn(story(maker), sweep)[4]
        == " trial  seed  z_cells  z_states  epoch  train  valid  time  state"
    )
    assert all(len(line) <= 80 for line in drawn(story(maker), sweep))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_state_and_best_are_seen_at_any_width_and_what_is_left_out_is_told(
    maker: RunMaker, width: int
) -> None:
    maker.complete(0)
    maker.pruned(1, 2)
    maker.failed(2, 1)
    maker.trial(3)
    told = story(maker)
    more = {"optim.learning_rate": 0.0001, "model.hidden_size": 16}
    for trial in told.trials.values():
        trial.params |= more
    four = Product((SWEEP.space, *(Choice(key, (value,)) for key, value in more.items())))
    lines = drawn(told, replace(SWEEP, space=four), rows=3, width=width)
    (heading,) = [line for line in lines if line.startswith(" trial ")]
    whole = [
        "trial",
        "z_cells",
        "z_states",
        "learning_rate",
        "hidden_size",
        "epoch",
        "train",
        "valid",
        "time",
        "state",
    ]
    shown, left_out = heading.split(), " ".join(lines).partition("not shown, for lack of room: ")[2]
    assert {"trial", "valid", "state"} <= set(shown)
    assert shown == [one for one in whole if one in shown]
    assert [one for one in whole if one not in shown] == [
        one for one in left_out.split(", ") if one
    ]
    assert any(line.endswith("complete (best)") for line in lines)
    assert any(" failed:" in line for line in lines)
    assert any(line.startswith(" and 1 more") for line in lines)
    assert all(len(line) <= width for line in lines)
    if width == 60:
        assert shown == ["trial", "z_cells", "z_states", "epoch", "valid", "state"]


@pytest.mark.parametrize("width", [60, 80])
def test_rows_of_a_table_keep_their_label_and_their_state(maker: RunMaker, width: int) -> None:
    maker.complete(0)
    told, sweep = story(maker), definition.get("table1_char")
    told.trials[0].params = {
        "label": "recurrent-dropout-0.25",
        "regularizer.recurrent_dropout.p_recurrent": 0.25,
    }
    lines = drawn(told, sweep, width=width)
    assert any(
        "recurrent-dropout-0.25" in line and line.endswith("complete (best)") for line in lines
    )


@pytest.mark.parametrize(
    ("seconds", "said", "clock"),
    [
        (-0.2, "0 s", "0:00"),
        (59.4, "59 s", "0:59"),
        (59.6, "1 min 00 s", "1:00"),
        (200, "3 min 20 s", "3:20"),
        (3599.7, "1 h 00 min", "1:00:00"),
        (7500, "2 h 05 min", "2:05:00"),
        (100_000, "1 d 03 h", "27:46:40"),
    ],
)
def test_durations_are_for_people(seconds: float, said: str, clock: str) -> None:
    assert (text.duration(seconds), text.clock(seconds)) == (said, clock)


def test_a_log_has_a_line_per_event_and_nothing_twice(
    maker: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.complete(0)
    told, before = (
        story(maker),
        len(list(maker.journal.events())),
    )  # what is there already is not told again
    with progress.live(told, SWEEP):
        maker.pruned(1, 2, z_cells=0.25, z_states=0.0)
        maker.failed(2, 0)
        for event in list(maker.journal.events())[before:]:
            told.add(event)
    assert capsys.readouterr().err.splitlines() == [
        "trial 1 runs: z_cells=0.25, z_states=0 (torch on cpu of here)",
        "trial 1 epoch 1: train 2.0762, valid 2.1762 bpc",
        "trial 1 epoch 2: train 1.9211, valid 2.0211 bpc",
        "trial 1 pruned: asha: among the worse half at its rung",
        "trial 2 runs: z_cells=0.5, z_states=0.05 (torch on cpu of here)",
        "trial 2 failed: diverged: the loss of epoch 1 is not finite",
    ]


def test_it_can_be_drawn_while_the_driver_adds_to_it(maker: RunMaker) -> None:
    """The driver's thread never waits for the one that draws: here it adds a trial at each look at
    trial 0."""
    maker.complete(0)
    began, asked, *rest = maker.journal.events()
    told = Story([began, asked, *rest])

    class Watched(TrialStory):
        def __getattribute__(self, name: str) -> Any:
            told.add(msgspec.structs.replace(asked, trial=len(told.trials)))
            return super().__getattribute__(name)

    first = told.trials[0]
    told.trials[0] = Watched(**{field.name: getattr(first, field.name) for field in fields(first)})
    lines = drawn(told, rows=3)
    assert lines[7].endswith("complete (best)")
    assert len(told.trials) > 3


def test_silence_is_silent(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.silent(story(maker), SWEEP):
        pass
    assert capsys.readouterr() == ("", "")


def on_a_terminal(
    arguments: list[str], stop_at: bytes = b"", by: int = signal.SIGINT
) -> tuple[int, str]:
    """Run a command on a pseudo-terminal, with a signal when it first shows `stop_at`; its exit
    code and output."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([ours], [], [], 1.0)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # Linux says so when nobody is left at the other end
                break
        if stop_at and stop_at in seen:
            process.send_signal(by)
            stop_at = b""
    os.close(ours)
    return process.wait(timeout=30), seen.decode()


def visible(seen: str) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)


def test_on_a_terminal_it_is_drawn_and_the_terminal_left_as_it_was(tmp_path: Path) -> None:
    how = ["--inline", "--tracking", "none"]
    code, seen = on_a_terminal(command(tmp_path, "run", "demo", *settings(), *how))
    shown = visible(seen)
    assert code == 0, shown
    assert "of 18 epochs" in shown
    assert "9 of 9 trials: 9 running" in shown
    assert shown.count("complete (best)") >= 1
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l"), "the cursor is visible again"
    assert "See it in MLflow" not in shown, "it is in no MLflow"
    last = shown.splitlines()
    run = Home(tmp_path).run("latest")
    assert last[-4] == f"{run.name}: finished (all trials ended): 9 of 9 trials: 9 complete"
    assert last[-1] == f"Send it to MLflow: sweep deliver {run.name} --home {tmp_path}"


def test_ctrl_c_on_a_terminal_tells_what_happens_and_how_to_go_on(tmp_path: Path) -> None:
    how = ["--inline", "--tracking", "none", "--lanes", "1"]
    code, seen = on_a_terminal(
        command(tmp_path, "run", "demo", *settings(), *how), stop_at=b"running"
    )
    shown = visible(seen)
    assert code == 130, shown
    message = "Stopping after the updates under way; Ctrl-C again leaves at once."
    assert message in (line.rstrip() for line in shown.splitlines()), "on a line of its own"
    run = Home(tmp_path).run("latest")
    assert shown.splitlines()[-1] == f"Go on with: sweep resume {run.name} --home {tmp_path}"
    assert "Traceback" not in shown


def test_whatever_kills_it_the_cursor_stays_visible(tmp_path: Path) -> None:
    run = command(tmp_path, "run", "demo", *settings(), "--inline", "--tracking", "none")
    code, seen = on_a_terminal(run, stop_at=b"starting", by=signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert "starting" in seen
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l")
