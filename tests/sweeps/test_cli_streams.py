"""A command's two streams: where nobody reads any more, and other programs' words full of control
characters."""

import io
import os
import pty
import subprocess
from pathlib import Path

import pytest

from sweeps.books.events import ClosedEvent, EndEvent, TrialEvent, WarningEvent
from sweeps.books.journal import Journal
from sweeps.books.run_folder import RunFolder
from sweeps.cli import text
from sweeps.cli.streams import Outlet
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import SWEEP, begin, settings, tiny
from tests.sweeps.stores import free_port
from zoneout_core.config.trial import TrialConfig
from zoneout_core.records import CHARACTERS, TrialState

NASTY = "\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 \x9b2J\x7f back\rspace"
CONTROL = "\x1b\x07\x9b\x7f\r"
PLAIN = "red bell 2J backspace"


def test_what_a_terminal_would_obey_is_left_out() -> None:
    assert text.plain(NASTY) == PLAIN
    assert text.plain("a\n\tb ü 日本 ·") == "a\n\tb ü 日本 ·"


def test_tables_and_lines_have_no_control_characters_but_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rich.text import Text

    shown = text.console()
    shown.file = io.StringIO()
    shown.print(NASTY)
    shown.print(Text(NASTY))
    assert not set(shown.file.getvalue()) & set(CONTROL)


def test_the_reason_of_a_trial_reaches_the_terminal_in_plain_text(copied: RunFolder) -> None:
    with Journal(copied.journal) as journal:
        journal.append(TrialEvent.of(9, {}, TrialConfig(), CHARACTERS))
        journal.append(EndEvent(trial=9, state=TrialState.FAILED, reason=NASTY, epoch=0))
        journal.append(WarningEvent(text=NASTY))
        journal.append(ClosedEvent(state="failed", reason=NASTY))
    for verb in (["status", "latest"], ["ls", "--runs"], ["status", "latest", "--json"]):
        done = sweep(*verb, *home_of(copied), width=200)
        assert done.code == 0
        assert not set(done.out + done.err) & set(CONTROL), verb
    assert "backspace" in sweep("status", "latest", *home_of(copied), width=300).out


def test_an_answer_full_of_colours_is_told_without(copied: RunFolder) -> None:
    from tests.sweeps.test_delivery import answering

    with answering(401, body=b"\x1b[31mno\x1b[0m \x07") as address:
        done = sweep("deliver", "latest", "--tracking", address, *home_of(copied))
    assert done.code == 1
    assert "\x1b" not in done.err + done.out
    assert "\x07" not in done.err + done.out


def test_a_stream_that_nobody_reads_is_mute_and_any_other_error_is_raised() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        outlet = Outlet(stream)
        outlet.write("x")
        outlet.flush()
        outlet.write("y")
        outlet.flush()
    with Path("/dev/full").open("w") as full:
        outlet = Outlet(full)
        outlet.write("x")
        with pytest.raises(OSError, match="No space left"):
            outlet.flush()
        with pytest.raises(OSError, match="No space left"):
            full.close()


def test_a_terminal_that_was_hung_up_is_mute() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        outlet = Outlet(stream)
        os.close(ours)
        outlet.write("x")
        outlet.flush()


def test_a_table_whose_reader_left_ends_without_a_word(finished: RunFolder) -> None:
    command = [str(SWEEP), "export", "latest", "--curves", *home_of(finished)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 0)


def test_a_file_that_cannot_be_drawn_takes_nothing_from_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps import runner
    from sweeps.runner import DriveOptions

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sweeps.report.write_report", full)
    sweep_, said = tiny(epochs=1, num_trials=2), list[str]()
    run = begin(tmp_path, sweep_)
    outcome = runner.drive(
        run, sweep_, DriveOptions(data=tmp_path, inline=True, tracking="none"), said.append
    )
    assert (outcome.state, outcome.report, run.story().state) == ("finished", [], "finished")
    assert said == [
        f"No heatmap: {run.report} cannot be written (No space left on device). Draw it later: {run.command('report')}"
    ]


def test_a_home_that_is_deleted_meanwhile_is_told_and_does_not_come_back(tmp_path: Path) -> None:
    import shutil

    from tests.sweeps.driving import sweep_run

    home = tmp_path / "home"
    driver = sweep_run(home, "--inline", "--tracking", "none", epochs=60, lanes=3)
    driver.until_records(10)
    run = driver.run
    with driver.stopped():
        shutil.rmtree(home)
    said = driver.wait(2)
    assert "must take every event, but cannot be written: " in said
    assert f"sweep resume {run.name} --home {home}" in said
    assert not home.exists()


def test_after_a_delivery_that_failed_nobody_is_sent_to_look_at_it(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    more = ["--set", "num_trials=1", "--set", "epochs=1", "--inline", "--tracking", nobody]
    done = sweep("run", "demo", *settings(), *more, "--home", tmp_path)
    assert done.code == 0
    assert "See it in MLflow" not in done.out
    assert (
        f"Deliver them: sweep deliver {next(tmp_path.glob('demo-*')).name} --home {tmp_path}\n"
        in done.out
    )
