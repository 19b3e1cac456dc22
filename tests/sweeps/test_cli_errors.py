"""What the command line says when something is wrong: the rule, the value found and what to do, in
one line."""

import json
from pathlib import Path

import pytest

from sweeps import definition
from sweeps.books.run_folder import Home, RunFolder
from sweeps.drivers import inline
from tests.plugged_in import PlugIn
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import call, settings, tiny
from zoneout_core import tasks

NO_SWEEP = f"There is no sweep named 'dem'. Did you mean 'demo'? What exists: {', '.join(definition.names())}."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show dem", NO_SWEEP),
        (
            "run demo --set sampler=tp",
            "There is no sampler named 'tp'. Did you mean 'tpe'? What exists: gp, grid, qmc, random, tpe.",
        ),
        (
            "run demo --set scheduler=ash",
            "There is no scheduler named 'ash'. Did you mean 'asha'? What exists: asha, hyperband, median, none.",
        ),
        (
            "run demo --set clip=updat",
            "There is no value of optim.clip named 'updat'. Did you mean 'update'? What exists: gradient, update.",
        ),
        (
            "run demo --set task=char_pdb",
            f"There is no task named 'char_pdb'. Did you mean 'char_ptb'? What exists: {', '.join(tasks.names())}.",
        ),
        ("run demo --set epochs=two", "epochs must be a whole number, but is 'two'. Set it with --set epochs=VALUE."),
        ("run demo --set epochs=0", "epochs must be at least 1, but is 0. Set it with --set epochs=VALUE."),
        ("run demo --set epochs", "--set takes KEY=VALUE, but got 'epochs'. For example: --set epochs=2"),
        ("run demo --lanes 0", "lanes must be at least 1, but is 0. Set it with --set lanes=VALUE."),
        (
            "run demo --set z_cells=0.5",
            "regularizer.zoneout.z_cells is searched by the space of sweep demo, so it cannot be set. Leave it out.",
        ),
        ("deliver latest --tracking none", "sweep deliver needs somewhere to deliver to, but --tracking is 'none'. Leave it out."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line_with_what_exists(arguments: str, message: str) -> None:
    assert sweep(*arguments.split()) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize(
    ("key", "close"),
    [
        ("hiden", "'hidden_size'"),
        ("regularizer.z_cell", "'regularizer.zoneout.z_cells'"),
        ("model.hiden", "'model.hidden_size'"),
    ],
)
def test_an_unknown_key_names_the_closest_in_the_same_spelling(key: str, close: str) -> None:
    done = sweep("show", "demo", "--set", f"{key}=1")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: There is no setting named {key!r}. Did you mean {close}")
    assert done.err.endswith("? List all with: sweep explain\n")
    assert len(done.err) < 250


def test_an_unknown_run_names_the_closest(tmp_path: Path) -> None:
    run = Home(tmp_path).create(tiny())
    for name in ("status", "resume", "stop", "report", "export", "deliver", "ui"):
        done = sweep(name, "demo-2026", "--home", tmp_path)
        assert done == (
            2, "",
            f"error: There is no run in {tmp_path} named 'demo-2026'. Did you mean {run.name!r}? "
            f"What exists: {run.name}, latest.\n",
        )  # fmt: skip


def test_latest_of_an_empty_home_says_how_to_begin(tmp_path: Path) -> None:
    message = f"error: There is no run in {tmp_path} yet. Begin one with: sweep run demo --home {tmp_path}\n"
    assert sweep("status", "latest", "--home", tmp_path) == (2, "", message)


def test_only_a_driven_run_can_be_stopped(finished: RunFolder) -> None:
    done = sweep("stop", "latest", *home_of(finished))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        f"error: Only a driven run can be stopped, and nobody drives {finished.name}. "
        f"Go on with it: {finished.command('resume')}"
    )


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ("show dem", "UnknownName", NO_SWEEP),
        ("run demo --set epochs=0", "ConfigError", "epochs must be at least 1, but is 0. Set it with --set epochs=VALUE."),
        ("statu", "UsageError", "No such command 'statu'. Did you mean 'status'?"),
        ("run", "MissingParameter", "Missing argument 'NAME'."),
        ("ls --rums", "NoSuchOption", "No such option: --rums"),
    ],
)  # fmt: skip
def test_with_json_an_error_is_one_document_on_stdout(
    arguments: str, kind: str, message: str
) -> None:
    done = sweep(*arguments.split(), "--json")
    assert done.code == 2
    told = json.loads(done.out)
    assert told["error"] == kind
    assert told["message"].startswith(message)
    assert told["message"] in done.err


def test_a_traceback_comes_only_when_asked_for() -> None:
    for done in (call("show", "dem", "--traceback"), call("show", "dem", ZONEOUT_TRACEBACK="1")):
        assert done.returncode == 2
        assert done.stderr.startswith("Traceback (most recent call last):")
        assert done.stderr.endswith(
            f"\nzoneout_core.errors.UnknownName: {NO_SWEEP}\nerror: {NO_SWEEP}\n"
        )
    assert call("show", "dem").stderr == f"error: {NO_SWEEP}\n"


def test_what_nobody_foresaw_is_one_line_and_its_traceback_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(inline, "drive", breaks)
    arguments = ["run", "demo", *settings(), "--inline", "--tracking", "none", "--home", tmp_path]
    done = sweep(*arguments, "--json")
    run = Home(tmp_path).run("latest")
    text = "ZeroDivisionError: division by zero (add --traceback to see where it was raised)"
    assert done == (
        1,
        json.dumps({"error": "ZeroDivisionError", "message": text}, indent=2) + "\n",
        f"Run {run.name} in {tmp_path}\nThe traceback is in {run.log}\nerror: {text}\n",
    )
    assert run.log.read_text().endswith("ZeroDivisionError: division by zero\n")
    assert run.story().state == "failed"
    assert "in breaks" in sweep(*arguments, "--traceback").err


def test_a_run_is_not_begun_without_its_data(tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    done = sweep("run", "figure3", "--home", home, "--data", data)
    assert done.code == 2
    assert done.err.startswith(
        f"error: Task char_ptb needs its data files whole and unchanged, but found\n  {data}/ptb/ptb.train.txt: missing; "
    )
    assert done.err.endswith(f"Fetch them with: sweep data fetch char_ptb --data {data}\n")
    assert not home.exists()


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    done = call(
        "run",
        "demo",
        *settings(),
        "--home",
        str(tmp_path),
        "--tracking",
        "none",
        "--address",
        "127.0.0.1:1",
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        "error: --address must be that of a Ray cluster that runs, but '127.0.0.1:1' gives: "
        "[Errno 111] Connection refused. Start one (ray up docker/cluster.yaml), "
        "or leave the option out for a Ray on this machine.\n"
    )


def test_a_port_that_cannot_be_one_is_refused() -> None:
    done = sweep("ui", "latest", "--port", "99999")
    assert done.code == 2
    assert done.err.endswith(
        "Error: Invalid value for '--port': Input should be less than or equal to 65535\n"
    )


# Files of parts that are broken


@pytest.mark.parametrize("command", [("ls",), ("ls", "--json"), ("show", "demo")])
def test_a_command_that_only_lists_names_a_broken_regularizer_in_a_line(
    plug_in: PlugIn, command: tuple[str, ...]
) -> None:
    file = plug_in("regularizers", "mine", "import nothing_of_this_name")
    done = sweep(*command)
    assert done.code == 0
    assert done.err == (
        "warning: The file of regularizer mine cannot be imported: ModuleNotFoundError: No module"
        f" named 'nothing_of_this_name' ({file}, line 1). Mend it, or take it away.\n"
    )
    assert "figure3" in done.out or "demo" in done.out


def test_a_command_that_trains_refuses_a_broken_regularizer_and_leaves_nothing(
    plug_in: PlugIn, tmp_path: Path
) -> None:
    file = plug_in("regularizers", "mine", "")
    done = sweep("run", "demo", "--inline", "--home", tmp_path / "home")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: {file} is no regularizer: it must define PART, the class of its settings, but has"
        " none. Write PART = YourClass at its end, or begin its name with an underscore if it is a"
        " helper.\n"
    )
    assert not (tmp_path / "home").exists()


def test_a_broken_cell_is_told_to_whoever_chooses_it(plug_in: PlugIn) -> None:
    file = plug_in("cells", "mine", "")
    listed = sweep("ls")
    assert (listed.code, listed.err) == (0, "")
    done = sweep("show", "demo", "--set", "cell=mine")
    assert done.code == 2
    assert done.err.startswith(f"error: {file} is no cell: it must define PART,")


def test_a_name_of_two_settings_is_told_with_both(plug_in: PlugIn) -> None:
    plug_in("regularizers", "mine", ANOTHER_Z_CELLS)
    done = sweep("show", "figure7", "--set", "z_cells=0.5")
    assert (done.code, done.err) == (
        2,
        "error: z_cells is the name of 2 settings: regularizer.mine.z_cells and"
        " regularizer.zoneout.z_cells. Write one of these instead.\n",
    )
    assert sweep("ls").err == ""


ANOTHER_Z_CELLS = """
from dataclasses import dataclass
from typing import ClassVar

from zoneout_core.regularizers import Regularizer


@dataclass(frozen=True, kw_only=True)
class Mine(Regularizer):
    EXAMPLES: ClassVar = ()
    z_cells: float = 0.0

    @property
    def active(self) -> bool:
        return False


PART = Mine
"""
