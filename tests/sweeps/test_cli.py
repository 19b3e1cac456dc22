"""The command line as people and scripts meet it: what it offers, what it says, and how it ends."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from sweeps import cli, definition, settings
from sweeps.books.run_folder import RunFolder
from sweeps.paper import reproductions
from sweeps.tracking.delivery import Tracking
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import tiny
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import free_port

HEAVY = ("torch", "ray", "mlflow", "pandas", "optuna", "numpy", "matplotlib")

DRIVING = {
    "--set",
    "--lanes",
    "--home",
    "--data",
    "--inline",
    "--address",
    "--tracking",
    "--force",
    "--json",
}
OPTIONS = {
    "ls": {"--home", "--runs", "--json"},
    "show": {"--set", "--lanes", "--explain", "--json"},
    "explain": {"--markdown", "--json"},
    "run": DRIVING,
    "resume": DRIVING,
    "status": {"--home", "--json"},
    "stop": {"--home", "--json"},
    "report": {"--home", "--from-mlflow", "--x-axis", "--y-axis", "--json"},
    "export": {"--home", "--format", "--curves", "--no-times", "--out", "--json"},
    "deliver": {"--all", "--home", "--tracking", "--timeout", "--json"},
    "reproduce": DRIVING | {"--scale", "--rows", "--seeds", "--fresh", "--show"},
    "ui": {"--home", "--port", "--json"},
    "data ls": {"--data", "--json"},
    "data fetch": {"--data", "--from", "--force", "--json"},
}
"""Every option there is: a new one is a decision, so it is made here, too."""


def commands(group: Any = None, prefix: str = "") -> dict[str, Any]:
    """Every command by its full name, as Typer has registered it."""
    found: dict[str, Any] = {}
    for name, one in (group or typer.main.get_command(cli.app)).commands.items():
        found |= commands(one, f"{name} ") if hasattr(one, "commands") else {prefix + name: one}
    return found


# What it offers


def test_the_options_are_few_and_known() -> None:
    found = {
        name: {
            option
            for parameter in one.params
            if parameter.param_type_name == "option"
            for option in parameter.opts
        }
        for name, one in commands().items()
    }
    assert found == OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
def test_every_command_takes_json_and_explains_itself(name: str) -> None:
    assert "--json" in OPTIONS[name]
    done = sweep(*name.split(), "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: sweep {name} [OPTIONS]")
    for option in OPTIONS[name]:
        assert re.search(rf"^  {option}\b.*\w", done.out, re.MULTILINE), option
    assert max(map(len, done.lines)) <= 80


@pytest.mark.parametrize("name", OPTIONS)
def test_every_command_says_that_it_takes_plugins(name: str) -> None:
    text = " ".join(sweep(*name.split(), "--help").out.split())
    assert "Every command also takes --plugins DIR" in text
    assert "$ZONEOUT_PLUGINS" in text


def test_help_lists_every_reproduction_even_where_plugins_are_broken() -> None:
    files = Path(reproductions.__file__).parent.glob("[!_]*.py")
    names = {file.stem.replace("_", "-") for file in files}
    assert set(reproductions.names()) == names
    done = subprocess.run(  # a process of its own: the names are listed on import
        [sys.executable, "-c", "from sweeps.cli import main; main(['reproduce', '--help'])"],
        env=os.environ | {"ZONEOUT_PLUGINS": "/no/such/folder", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    listed = re.search(r"NAME <str> +One of ([^.]*)\.", done.stdout)
    assert listed is not None, done.stderr
    assert {name.strip() for name in listed[1].split(",")} == names


def test_examples_in_the_help_name_what_exists() -> None:
    for name in OPTIONS:
        for example in re.findall(
            r"^    sweep (.*)$", sweep(*name.split(), "--help").out, re.MULTILINE
        ):
            words = example.partition(" > ")[0].split()
            assert " ".join(words).startswith(name)
            assert {word for word in words if word.startswith("--")} <= OPTIONS[name]
            if name == "explain":
                assert all(settings.find(word) for word in words[1:])
            if name in ("run", "show"):
                definition.get(words[1]).with_values(
                    dict(w.split("=", 1) for w in words if "=" in w)
                )


def test_the_version_is_that_of_the_package() -> None:
    done = sweep("--version")
    assert (done.code, done.out) == (0, f"sweep {version('zoneout-sweeps')}\n")


def test_sweep_alone_shows_its_commands_whole() -> None:
    done = sweep()
    assert done.code == 2, "a script that forgot the command must notice"
    for name in {name.partition(" ")[0] for name in OPTIONS}:
        line = next(line for line in done.err.splitlines() if line.startswith(f"  {name} "))
        assert not line.endswith("...")


def test_looking_around_loads_nothing_heavy(finished: RunFolder) -> None:
    calls = [[*name.split(), "--help"] for name in OPTIONS]
    calls += [
        ["ls"],
        ["show", "figure3"],
        ["ls", "--runs", *home_of(finished)],
        ["data", "ls", "--json"],
    ]
    calls += [["status", "latest", *home_of(finished)], ["export", "latest", *home_of(finished)]]
    code = (
        "import sys\nfrom sweeps.cli import main\n"
        f"for arguments in {calls!r}:\n"
        "    try:\n        main(arguments)\n"
        "    except SystemExit as ended:\n        assert not ended.code, arguments\n"
        f"print('heavy:', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


# What can be run, and what was


def test_ls_keeps_descriptions_readable_on_80_columns() -> None:
    done = sweep("ls")
    demo = next(number for number, line in enumerate(done.lines) if line.startswith("demo "))
    assert done.lines[demo : demo + 3] == [
        "demo           3 x 3 zoneout plane on Python's language reference; no download,",
        "               takes minutes",
        "               9 trials of char_pydoc, chosen by grid",
    ]
    assert (
        done.lines[-1]
        == "See a whole definition with: sweep show NAME   Run it with: sweep run NAME"
    )
    listed = json.loads(sweep("ls", "--json").out)
    assert [one["sweep"] for one in listed] == definition.names()
    assert set(listed[0]) == {"sweep", "task", "trials", "sampler", "scheduler", "description"}


def test_show_prints_what_is_searched_and_what_is_set() -> None:
    done = sweep("show", "demo", "--set", "hidden_size=64", "--set", "seeds=0,1", "--lanes", "3")
    lines = [" ".join(line.split()) for line in done.lines]
    assert "Searched, 18 trials:" in lines
    for line in (
        "seed 0, 1",
        "regularizer.zoneout.z_states 0.0, 0.05, 0.25",
        "model.hidden_size 64",
        "lanes 3",
        "model.cell lstm",
    ):
        assert line in lines
    assert not any(line.startswith("optim.clip ") for line in lines), (
        "what has its default value comes last, in short"
    )
    assert "optim.clip=gradient, optim.clip_norm=1.0, " in " ".join(
        lines[lines.index("Every trial, by default:") :]
    )
    plain = json.loads(sweep("show", "demo", "--set", "hidden_size=64", "--json").out)
    assert definition.Sweep.from_json(plain) == definition.get("demo").with_values(
        {"hidden_size": 64}
    )


def test_show_puts_ranges_and_switches_into_words() -> None:
    done = sweep(
        "show", "demo", "--set", "space=clip", "--set", "sampler=tpe", "--set", "num_trials=5"
    )
    lines = [" ".join(line.split()) for line in done.lines]
    assert "Searched, 5 trials:" in lines
    assert "optim.clip gradient, update" in lines
    assert any(line.startswith("optim.clip_norm [clip=gradient] ") for line in lines)


def test_show_puts_a_row_of_a_table_on_a_line() -> None:
    lines = [" ".join(line.split()) for line in sweep("show", "table1_char", width=120).lines]
    assert "[label=zoneout] z_cells=0.5, z_states=0.05" in lines
    assert "[label=recurrent-dropout] p_recurrent=0.25" in lines


def test_show_names_every_field_that_the_sweep_uses_and_explain_every_field() -> None:
    def named(*arguments: str) -> set[str]:
        lines = sweep(*arguments).lines
        first = {line.split()[0] for line in lines if line.startswith("  ")}
        return first | set(re.findall(r"([\w.]+)=", "".join(lines)))

    fields = {*definition.SETTABLE, *definition.get("demo").base.flat()}
    assert fields <= named("explain")
    unused = {key for key in fields if key.startswith("regularizer.")}
    unused -= {key for key in unused if key.startswith("regularizer.zoneout.")}
    shown = named("show", "demo")
    assert fields - unused - {"space", "seed"} <= shown
    assert not unused & shown


def test_ls_runs_lists_each_with_its_state(copied: RunFolder) -> None:
    home = copied.folder.parent
    best = copied.story().best
    assert best is not None
    assert best.best is not None
    listed = json.loads(sweep("ls", "--runs", "--home", home, "--json").out)
    assert [(one["run"], one["state"], one["counts"], one["of"]) for one in listed] == [
        (copied.name, "finished", {"complete": 9}, 9)
    ]
    assert listed[0]["best"]["best"] == best.best.metrics["valid_chunked_bpc"]
    row = next(line for line in sweep("ls", "--runs", "--home", home).lines if copied.name in line)
    assert row.split() == [
        copied.name,
        "finished",
        "9",
        "of",
        "9:",
        "9",
        "complete",
        f"{listed[0]['best']['best']:.4f}",
        "bpc",
    ]


def test_a_run_that_cannot_be_read_does_not_hide_the_others(copied: RunFolder) -> None:
    (copied.folder.parent / "torn").mkdir()
    (copied.folder.parent / "torn" / "sweep.json").write_text("{")
    listed = json.loads(sweep("ls", "--runs", "--home", copied.folder.parent, "--json").out)
    assert {one["run"]: one["state"] for one in listed} == {
        copied.name: "finished",
        "torn": "unreadable",
    }
    assert "unreadable" in sweep("ls", "--runs", "--home", copied.folder.parent).out


def test_an_empty_home_says_how_to_begin(tmp_path: Path) -> None:
    assert sweep("ls", "--runs", "--home", tmp_path) == (
        0, f"No run in {tmp_path} yet. Begin one with: sweep run demo --home {tmp_path}\n", ""
    )  # fmt: skip
    assert sweep("ls", "--runs", "--home", tmp_path, "--json").out == "[]\n"


def test_the_home_comes_from_the_environment(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_HOME", str(finished.folder.parent))
    assert json.loads(sweep("status", "latest", "--json").out)["run"] == finished.name


def test_the_default_home_is_runs_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin = f"sweep run demo --home {tmp_path}/runs"
    assert sweep("ls", "--runs").out == f"No run in {tmp_path}/runs yet. Begin one with: {begin}\n"


def test_the_data_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEOUT_DATA", str(tmp_path / "nothing here"))
    done = sweep("run", "figure3_small", "--home", tmp_path, "--inline", "--tracking", "none")
    assert done.code == 2
    assert str(tmp_path / "nothing here") in done.err
    assert "sweep data fetch char_ptb" in done.err


# How a run stands


def test_status_says_it_all(finished: RunFolder) -> None:
    done = sweep("status", "latest", *home_of(finished))
    driver = finished.story().driver
    assert driver is not None
    assert done.lines[0] == f"{finished.name}: finished (all trials ended)"
    assert done.lines[1] == f"folder: {finished.folder}"
    assert re.fullmatch(
        rf"driver: inline, process {os.getpid()} on {driver.host}, began \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d",
        done.lines[2],
    )
    assert re.fullmatch(r"18 of 18 epochs, .*\d s", done.lines[3])
    assert done.lines[5] == "9 of 9 trials: 9 complete"
    assert re.fullmatch(
        r"best: trial \d, epoch 2: \d\.\d{4} bpc \(z_cells=[\d.]+, z_states=[\d.]+\)", done.lines[6]
    )
    assert done.lines[8].split() == [
        "trial",
        "z_cells",
        "z_states",
        "epoch",
        "train",
        "valid",
        "time",
        "state",
    ]
    assert len(done.lines) == 20
    assert sum(line.endswith("complete (best)") for line in done.lines) == 1


def test_status_as_json_is_whole_and_plain(finished: RunFolder) -> None:
    status = json.loads(sweep("status", finished.name, *home_of(finished), "--json").out)
    assert set(status) == {
        "run", "folder", "sweep", "objective", "state", "reason", "driver", "seconds", "of", "cut", "counts", "best",
        "trials", "warnings",
    }  # fmt: skip
    assert status["objective"] == "valid_chunked_bpc"
    assert (status["state"], status["reason"], status["counts"]) == (
        "finished",
        "all trials ended",
        {"complete": 9},
    )
    assert set(status["driver"]) == {"mode", "pid", "host", "time"}
    assert status["best"] in status["trials"]
    assert status["best"]["best"] == min(trial["best"] for trial in status["trials"])
    assert set(status["trials"][0]) == {
        "trial", "params", "seed", "state", "reason", "epoch", "best", "best_epoch"
    }  # fmt: skip


def test_status_of_a_run_whose_driver_died_says_how_to_go_on(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path / "dead")
    RunFolder(maker.folder).write_definition(tiny())
    maker.driver()
    maker.trial(0)
    maker.record(0, 1, 2.0)
    done = sweep("status", "dead", "--home", tmp_path)
    assert done.lines[0] == "dead: interrupted (its driver died)"
    assert done.lines[-1] == f"Go on with: sweep resume dead --home {tmp_path}"


def test_report_draws_the_same_again(copied: RunFolder) -> None:
    before = {file.name: file.read_bytes() for file in copied.report.iterdir()}
    assert set(before) == {"heatmap.csv", "heatmap.png", "heatmap.svg"}
    shutil.rmtree(copied.report)
    done = sweep("report", "latest", *home_of(copied))
    assert sorted(done.lines) == sorted(str(copied.report / name) for name in before)
    assert {file.name: file.read_bytes() for file in copied.report.iterdir()} == before
    as_json = json.loads(sweep("report", "latest", *home_of(copied), "--json").out)
    assert as_json == {"run": copied.name, "report": done.out.splitlines()}


def test_report_of_what_mlflow_has_is_the_journals_byte_for_byte(copied: RunFolder) -> None:
    store = f"sqlite:///{copied.folder.parent}/mlflow.db"
    done = sweep("deliver", "latest", *home_of(copied))
    assert done == (0, f"{copied.name}: everything is in {store}\n", "")
    again = json.loads(sweep("deliver", "latest", *home_of(copied), "--json").out)
    assert again == {"run": copied.name, "tracking": store, "undelivered": 0}
    before = {file.name: file.read_bytes() for file in copied.report.iterdir()}
    shutil.rmtree(copied.report)
    assert sweep("report", "latest", *home_of(copied), "--from-mlflow").code == 0
    assert {file.name: file.read_bytes() for file in copied.report.iterdir()} == before


def test_ui_of_a_run_on_a_server_that_is_not_there_is_one_document(copied: RunFolder) -> None:
    """No password is told, and nothing is claimed that was not looked at."""
    server = f"127.0.0.1:{free_port()}"
    Tracking(f"http://person:secret@{server}", "demo").save(copied)
    done = sweep("ui", *home_of(copied), "--json")
    answer = json.loads(done.out)
    said = f"Run {copied.name} belongs to the MLflow server at http://person:***@{server}, which must answer, but: "
    assert (done.code, set(answer), answer["error"]) == (2, {"error", "message"}, "RunError")
    assert answer["message"].startswith(said)
    assert "secret" not in done.out + done.err
