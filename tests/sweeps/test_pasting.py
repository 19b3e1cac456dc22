"""Printed commands can be pasted: they are quoted, and find their run from any folder."""

import ast
import re
import shlex
import shutil
from pathlib import Path

import pytest

from sweeps.books.events import WarningEvent
from sweeps.books.journal import Journal
from sweeps.books.run_folder import Home, RunFolder
from sweeps.tracking.delivery import Tracking
from tests.sweeps.commands import sweep
from tests.sweeps.driven import settings
from tests.sweeps.stores import sqlite_store
from zoneout_core.data.datafiles import fetch_command
from zoneout_core.errors import HomeError

COMMAND = re.compile(
    r"sweep (?:resume|status|stop|report|export|deliver|ui|run|ls|data) [^\n]*?(?=   |$|\n)"
)


@pytest.fixture
def awkward(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A run in a folder whose name a shell would take apart."""
    folder = tmp_path / "my home; $(touch x) 'quoted'" / finished.name
    return RunFolder(Path(shutil.copytree(finished.folder, folder)))


def pasted(command: str) -> list[str]:
    """The arguments that a shell would give the command `sweep`."""
    program, *arguments = shlex.split(command)
    assert program == "sweep"
    return arguments


def test_commands_that_are_printed_run_from_another_folder(
    awkward: RunFolder, tmp_path: Path, templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_store(awkward.folder.parent, templates)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for verb in ("status", "export", "report", "resume", "deliver"):
        more = ["--inline", "--tracking", "none"] if verb == "resume" else []
        assert sweep(*pasted(awkward.command(verb)), *more).code == 0, verb
    assert sweep(*pasted(Home(awkward.folder.parent).command("ls", "--runs"))).code == 0
    assert sweep(*pasted(Home(awkward.folder.parent).command("deliver", "--all"))).code == 0
    elsewhere = Tracking(f"sqlite:///{tmp_path}/other store.db", "demo")
    sqlite_store(tmp_path / "o", templates)
    shutil.copyfile(tmp_path / "o" / "mlflow.db", tmp_path / "other store.db")
    assert sweep(*pasted(elsewhere.command(awkward))).code == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_everything_that_a_run_prints_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "my home"
    done = sweep(
        "run",
        "demo",
        *settings(),
        "--set",
        "num_trials=2",
        "--inline",
        "--tracking",
        "none",
        "--home",
        home,
    )
    status = sweep("status", "latest", "--home", home)
    found = COMMAND.findall(done.out + done.err + status.out)
    assert found, done
    monkeypatch.chdir(tmp_path)
    for command in found:
        arguments = pasted(command)
        assert "--home" in arguments, command
        assert (
            Home(arguments[arguments.index("--home") + 1]).run(arguments[1]).story().state
            == "finished"
        )


def test_a_run_that_reads_data_is_resumed_with_them(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(finished.folder, tmp_path / "home" / finished.name)))
    assert "--data" not in run.command("resume")
    with run.driving(tmp_path / "my data"):
        pass
    assert pasted(run.command("resume")) == [
        "resume", run.name, "--home", str(tmp_path / "home"), "--data", str(tmp_path / "my data"),
    ]  # fmt: skip
    assert "--data" not in run.command("status")
    assert pasted(fetch_command("char_ptb", Path("my data")))[-1] == str(Path("my data").absolute())


def test_a_full_disk_is_told_with_the_home(awkward: RunFolder) -> None:
    journal = Journal(awkward.journal)
    awkward.journal.unlink()
    with pytest.raises(HomeError) as error:
        journal.append(WarningEvent(text="x"))
    assert str(error.value).endswith(f"Mend that, then go on with: {awkward.command('resume')}")


def test_no_command_on_a_run_is_put_together_by_hand(repo_root: Path) -> None:
    """Where a text has `sweep VERB` and a value after it, the value may need quotes and the command
    its `--home`."""
    by_hand = re.compile(r"sweep (resume|status|stop|report|export|deliver|ui|run|data fetch) $")
    found = []
    for file in [
        *repo_root.glob("sweeps/**/*.py"),
        *repo_root.glob("zoneout_core/**/*.py"),
        *repo_root.glob("analysis/*.py"),
    ]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                for before, value in zip(node.values, node.values[1:], strict=False):
                    if (
                        isinstance(before, ast.Constant)
                        and by_hand.search(str(before.value))
                        and not isinstance(value, ast.Constant)
                    ):
                        found.append(f"{file.name}:{node.lineno}")
    assert [place for place in found if not place.startswith("datafiles.py")] == []
