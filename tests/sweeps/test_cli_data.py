"""`sweep data ls` and `sweep data fetch`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sweeps.cli.data import app
from zoneout_core import tasks
from zoneout_core.errors import DataError, UnknownName


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_ls_shows_each_task_and_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "ptb").mkdir()
    (tmp_path / "ptb" / "ptb.test.txt").write_text("short")
    done = run("ls", "--data", tmp_path)
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"Data folder: {tmp_path}"
    assert "char_ptb 446k, 442k 5,951,345 3 of 3 not ok" in lines
    assert "char_pydoc topics none needed" in lines
    assert lines.count("ptb/ptb.train.txt: missing") == 1, "two tasks read it"
    assert "ptb/ptb.test.txt: truncated (5 of 449,945 bytes)" in lines
    assert f"Fetch what is not ok: sweep data fetch char_ptb --data {tmp_path}" in lines


def test_ls_is_content_when_all_is_there(data_dir: Path) -> None:
    listed = json.loads(run("ls", "--json", "--data", data_dir).stdout)
    assert [task["task"] for task in listed] == tasks.names()
    ptb = next(task for task in listed if task["task"] == "char_ptb")
    assert [f["state"] for f in ptb["files"]] == ["ok", "ok", "ok"]
    assert set(ptb["files"][0]) == {"file", "path", "bytes", "sha256", "state", "detail"}
    shown = run("ls", "--data", data_dir).stdout
    assert "char_ptb 446k, 442k 5,951,345 ok" in [
        " ".join(line.split()) for line in shown.splitlines()
    ]
    assert "Fetch what is not ok: sweep data fetch char_ptb" not in shown


def test_the_folder_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZONEOUT_DATA", str(tmp_path))
    assert f"Data folder: {tmp_path}" in run("ls").stdout


def test_fetch_mends_what_is_bad_and_leaves_what_is_good(data_dir: Path, tmp_path: Path) -> None:
    first = run("fetch", "char_ptb", "--data", tmp_path, "--from", data_dir)
    assert first.exit_code == 0, first.exception
    names = ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]
    assert first.stdout.splitlines() == [f"fetched: {tmp_path}/ptb/{name}" for name in names]
    assert len(tasks.load_corpus("char_ptb", "", tmp_path).test) == 446_184

    (tmp_path / "ptb" / "ptb.valid.txt").write_text("damaged")
    again = json.loads(
        run("fetch", "char_ptb", "--data", tmp_path, "--from", data_dir, "--json").stdout
    )
    assert again["task"] == "char_ptb"
    assert [f["fetched"] for f in again["files"]] == [False, True, False]
    assert [f["state"] for f in again["files"]] == ["ok", "ok", "ok"]

    third = run("fetch", "char_ptb", "--data", tmp_path)
    assert third.stdout.splitlines() == [f"already there: {tmp_path}/ptb/{name}" for name in names]

    forced = run(
        "fetch", "char_ptb", "--data", tmp_path, "--from", tmp_path / "nothing here", "--force"
    )
    assert isinstance(forced.exception, DataError), "with --force even good files are fetched"


def test_fetch_has_nothing_to_do_for_a_task_without_files(tmp_path: Path) -> None:
    assert (
        run("fetch", "char_pydoc", "--data", tmp_path).stdout == "Task char_pydoc needs no files.\n"
    )
    assert json.loads(run("fetch", "char_pydoc", "--data", tmp_path, "--json").stdout) == {
        "task": "char_pydoc",
        "files": [],
    }


def test_fetch_of_an_unknown_task_leaves_the_message_to_the_command_line(tmp_path: Path) -> None:
    done = run("fetch", "char_pdb", "--data", tmp_path)
    assert isinstance(done.exception, UnknownName)
    assert "Did you mean 'char_ptb'?" in str(done.exception)


def test_importing_it_loads_nothing_heavy() -> None:
    look = (
        "import sys, sweeps.cli.data; "
        "heavy = {'numpy', 'torch', 'ray', 'mlflow', 'optuna', 'pandas'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
