"""A folder of the user's own cells, regularizers, tasks, spaces and sweeps, from `sweep run` to
`sweep report`, in one process: what is kept, what a resume uses, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from sweeps import definition
from sweeps.books import checksums
from sweeps.books.run_folder import Home, RunFolder
from sweeps.paper import found_trials
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.driven import curves
from zoneout_core.config import registry
from zoneout_core.config.plugins import Plugins

SMALL = {"hidden_size": 4, "epochs": 2, "train_fraction": 0.05, "eval_fraction": 0.05}
SETTINGS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def folder(tmp_path: Path, repo_root: Path) -> Path:
    return Path(shutil.copytree(repo_root / "tests/plugins", tmp_path / "my plugins"))


def begin(folder: Path, home: Path, *arguments: str) -> RunFolder:
    done = sweep(
        "run",
        "leaky_plane",
        "--plugins",
        folder,
        "--inline",
        "--tracking",
        "none",
        "--home",
        home,
        *SETTINGS,
        *arguments,
    )
    assert done.code == 0, done.err
    return Home(home).run("latest")


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> RunFolder:
    """A run that a small budget ended."""
    return begin(folder, tmp_path / "home", "--set", "num_trials=2")


def test_a_run_keeps_the_files_their_hash_and_needs_no_folder_afterwards(
    run: RunFolder, folder: Path
) -> None:
    given = Plugins.read(folder)
    shutil.rmtree(folder)
    assert Plugins.read(run.plugins) == given
    assert checksums.read(run.folder / "sweep.json")["plugins"]["sha256"] == given.sha256
    provenance = checksums.read(run.provenance)["drivers"][0]["plugins"]
    assert provenance["cells/leaky_rnn"] == given.decisive_sha256
    assert provenance["sweeps/leaky_plane"] == given.sha256
    for command in ("status", "report", "export"):
        done = sweep(command, run.name, *home_of(run))
        assert done.code == 0, done.err
    assert "finished" in sweep("ls", "--runs", *home_of(run)).out
    resumed = sweep(
        "resume", run.name, "--inline", "--tracking", "none", "--set", "num_trials=4", *home_of(run)
    )
    assert resumed.code == 0, resumed.err
    assert [trial.config["model"]["cell"] for trial in run.story().trials.values()] == [
        "leaky_rnn"
    ] * 4
    assert "--plugins" not in run.command("resume")


def test_plugins_are_of_one_command_and_may_stand_before_or_after_it(folder: Path) -> None:
    for arguments in (
        ("--plugins", folder, "ls"),
        ("ls", "--plugins", folder),
        ("ls", f"--plugins={folder}"),
    ):
        assert "leaky_plane" in sweep(*arguments).out
    assert "leaky_plane" not in sweep("ls").out
    assert "ring_walk" in sweep("data", "ls", "--plugins", folder).out
    assert "--plugins" in sweep("--help").out
    assert "requires an argument" in sweep("ls", "--plugins").err


def test_the_variable_does_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONEOUT_PLUGINS", str(folder))
    assert "leaky_plane" in sweep("ls").out


# Other plug-ins than those the run began with


def edit(folder: Path) -> Plugins:
    with (folder / "cells/leaky_rnn.py").open("a") as file:
        file.write("# edited\n")
    return Plugins.read(folder)


def test_a_resume_with_other_plugins_is_refused_and_with_the_same_ones_is_not(
    run: RunFolder, folder: Path
) -> None:
    own = Plugins.read(folder)
    command = (
        "resume",
        run.name,
        "--inline",
        "--tracking",
        "none",
        "--plugins",
        folder,
        *home_of(run),
    )
    assert sweep(*command).code == 0
    other = edit(folder)
    refused = sweep(*command)
    assert refused.code == 2
    assert refused.err == (
        f"error: A resumed run uses the plug-ins that it began with, in {run.plugins} (SHA-256 {own.sha256[:12]}), but those "
        f"of {folder} are others (SHA-256 {other.sha256[:12]}). Leave --plugins out, or begin a new run with: "
        f"sweep run leaky_plane --home {run.folder.parent} --plugins '{folder}'\n"
    )


def test_the_variable_is_set_aside_by_a_resume_which_says_so(
    run: RunFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = Plugins.read(folder), edit(folder)
    monkeypatch.setenv("ZONEOUT_PLUGINS", str(folder))
    command = ("resume", run.name, "--inline", "--tracking", "none", *home_of(run))
    done = sweep(*command)
    assert done.code == 0
    assert (
        f"{run.name} uses the plug-ins that it began with, in {run.plugins} (SHA-256 {own.sha256[:12]}); those of {folder} "
        f"are others (SHA-256 {other.sha256[:12]}).\n"
    ) in done.err
    shutil.rmtree(folder)
    done = sweep(*command)
    assert done.code == 0
    assert (
        f"$ZONEOUT_PLUGINS is not used: --plugins (or $ZONEOUT_PLUGINS) must be a folder, but {folder} is none."
        in done.err
    )


def test_a_run_whose_copy_was_changed_is_not_gone_on_with(run: RunFolder) -> None:
    before = Plugins.read(run.plugins)
    after = edit(run.plugins)
    done = sweep("resume", run.name, *home_of(run))
    assert (done.code, done.err) == (
        2,
        f"error: A run uses the plug-ins that it began with, which are kept in {run.plugins}, but those have SHA-256 "
        f"{after.sha256} now and had {before.sha256} then. Restore the folder, or begin a new run.\n",
    )
    assert sweep("export", run.name, *home_of(run)).code == 0


def test_plugins_of_a_run_that_someone_else_made_are_not_executed_until_they_are_named(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    refused = sweep("status", run.name, *home_of(run))
    assert (refused.code, refused.err) == (
        2,
        f"error: A run uses the plug-ins that it began with, which are kept in {run.plugins}. That is code, and you have "
        f"never used it on this machine. Read it, and if you trust it add: --plugins {run.plugins}\n",
    )
    assert "unreadable" in sweep("ls", "--runs", *home_of(run)).out
    assert sweep("export", run.name, *home_of(run)).code == 0
    assert sweep("status", run.name, "--plugins", run.plugins, *home_of(run)).code == 0
    assert sweep("status", run.name, *home_of(run)).code == 0


# Which trials serve a table


def test_a_trial_of_another_plugin_serves_nothing_and_one_of_another_sweep_file_does(
    run: RunFolder, folder: Path
) -> None:
    def found() -> int:
        with registry.using(Plugins.read(folder)):
            asked = definition.get("leaky_plane").with_values(SMALL)
            return len(found_trials.find(Home(run.folder.parent), asked))

    assert found() == 2
    (folder / "sweeps/another.py").write_text("")
    assert found() == 2
    edit(folder)
    assert found() == 0


def test_a_sweep_without_plugins_writes_nothing_of_them(tmp_path: Path) -> None:
    tiny = [
        word
        for key, value in (SMALL | {"num_trials": 1}).items()
        for word in ("--set", f"{key}={value}")
    ]
    done = sweep("run", "demo", "--inline", "--tracking", "none", "--home", tmp_path, *tiny)
    assert done.code == 0
    run = Home(tmp_path).run("latest")
    assert not run.plugins.exists()
    assert "plugins" not in json.loads((run.folder / "sweep.json").read_text())


def test_two_runs_with_other_plugins_stand_side_by_side(run: RunFolder, folder: Path) -> None:
    edit(folder)
    other = begin(folder, run.folder.parent, "--set", "num_trials=2")
    assert other.plugins.exists()
    listed = json.loads(sweep("ls", "--runs", "--json", *home_of(run)).out)
    assert [one["state"] for one in listed] == ["finished", "finished"]
    assert curves(other) == curves(run)


# Broken files


def test_a_broken_file_is_named_and_leaves_other_commands_working(folder: Path) -> None:
    (folder / "sweeps/broken.py").write_text("def sweep():\n    return 1 / 0\n")
    (folder / "tasks/empty.py").write_text("")
    (folder / "tasks/torn.py").write_text("TASK = (\n")
    listed = sweep("ls", "--plugins", folder, width=1000)
    assert listed.code == 0
    assert "leaky_plane" in listed.out
    assert listed.err == (
        f"warning: sweep broken is left out: Sweep broken cannot be made: ZeroDivisionError: division by zero "
        f"({folder}/sweeps/broken.py, line 2). Mend it, or take it away.\n"
    )
    listed = sweep("data", "ls", "--plugins", folder, width=1000)
    assert listed.code == 0
    assert "ring_walk" in listed.out
    assert listed.err.splitlines() == [
        f"warning: task empty is left out: {folder}/tasks/empty.py is no task: it must define TASK, but has none. Write it, or begin "
        "the file's name with an underscore if it is a helper.",
        f"warning: task torn is left out: The file of task torn cannot be imported: SyntaxError: '(' was never closed (torn.py, "
        f"line 1) ({folder}/tasks/torn.py, line 1). Mend it, or take it away.",
    ]
    (folder / "sweeps/none.py").write_text("def sweep():\n    pass\n")
    refused = sweep("show", "none", "--plugins", folder)
    assert (refused.code, refused.err) == (
        2,
        "error: sweep() of sweep none must return a Sweep, but returns None.\n",
    )
