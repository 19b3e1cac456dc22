"""A run's folder that someone else has made: nothing outside it is read, written, or sent
anywhere."""

import json
import os
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from sweeps.books.run_folder import RunFolder
from sweeps.files import is_inside, read_inside, refuse_links
from sweeps.tracking.delivery import Delivery
from tests.sweeps.commands import home_of, sweep
from tests.sweeps.journals import RunMaker
from tests.sweeps.stores import EXPERIMENT, stored
from zoneout_core.errors import CheckpointError, RunError
from zoneout_core.training import checkpoint, checkpoint_index

SECRET = "what nobody else should see"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the user's, beside the home."""
    file = tmp_path / "outside.txt"
    file.write_text(SECRET)
    return file


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "name",
    ["../up", "a/../../up", "/etc/passwd", "", ".", "..", "a//b", "a/", "./a", "a\\..\\b", "a\nb", "\x1b[31m", 7, None, ["a"]],
)  # fmt: skip
def test_names_that_lead_out_or_are_no_names(name: object) -> None:
    assert not is_inside(name)


@pytest.mark.parametrize("name", ["a", "report/plane.png", "..a", "a b", "ö.svg", "-rf"])
def test_names_that_stay_inside(name: str) -> None:
    assert is_inside(name)


def test_a_crafted_journal_neither_writes_nor_sends_a_file_of_elsewhere(
    run: RunMaker, uri: str, outside: Path
) -> None:
    crafted = [
        {"name": f"../../../../../../..{outside.parent}/written.txt", "path": "report/good.txt"},
        {"name": "passwd", "path": "/etc/passwd"},
        {"name": "up.txt", "path": "../../outside.txt"},
        {"name": "link.txt", "path": "report/link.txt"},
        {"name": "within.txt", "path": "linked/outside.txt"},
        {"name": "pipe.txt", "path": "report/pipe.txt"},
        {"name": ".", "path": "report/good.txt"},  # a name of another type is damage: test_journal
    ]
    report = run.folder / "report"
    report.mkdir()
    (report / "good.txt").write_text("of the run")
    (report / "link.txt").symlink_to(outside)
    os.mkfifo(report / "pipe.txt")
    (run.folder / "linked").symlink_to(outside.parent)
    run.driver()
    run.complete(0)
    for fields in [*crafted, {"name": "good.txt", "path": "report/good.txt"}]:
        run.tell("artifact", **fields)
    run.closed()
    before = set(everything(outside.parent))
    said: list[str] = []
    assert Delivery(run.folder, uri, EXPERIMENT, warn=said.append).deliver() == 0

    parent = stored(uri)["run1"]
    assert parent.files == ["good.txt", "provenance.json", "sweep.json"]
    assert parent.status == "FINISHED"
    artifacts = run.folder.parent / "mlflow"
    sent = {
        path: data
        for path, data in everything(artifacts).items()
        if SECRET.encode() in data or b"root:" in data
    }
    assert sent == {}
    new = set(everything(outside.parent)) - before
    assert [
        path for path in new if not path.startswith(str(artifacts)) and "mlflow.db" not in path
    ] == []
    assert len(said) == len(crafted)
    assert sum("this line of the journal is left out" in text for text in said) == 4
    assert sum(text.endswith("It is not sent to MLflow.") for text in said) == 3
    assert any('"path":"/etc/passwd"' in text for text in said), "the line is named"


def test_a_file_is_read_as_it_is_and_never_more_than_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    assert read_inside(tmp_path, "a/b", 5).data == b"12345"
    with pytest.raises(RunError, match="that is sent has at most 4 bytes, but .*a/b has 5"):
        read_inside(tmp_path, "a/b", 4)
    with pytest.raises(FileNotFoundError):
        read_inside(tmp_path, "a/c", 5)
    with pytest.raises(RunError, match="is a regular file, but"):
        read_inside(tmp_path, "a", 5)
    (tmp_path / "c").symlink_to("a")
    with pytest.raises(RunError, match="not behind a link, but .*c/b"):
        read_inside(tmp_path, "c/b", 5)
    with pytest.raises(RunError, match="has a name inside it, but this one is '../b'"):
        read_inside(tmp_path / "a", "../b", 5)


LINKS = (
    *(
        "journal.jsonl",
        "study.journal",
        "sweep.json",
        "provenance.json",
        "tracking.json",
        "secrets.json",
        "driver.log",
    ),
    *(
        "lock",
        "stop",
        "sweep.part",
        "report/plane.png",
        "report",
        "checkpoints",
        "checkpoints/00001/lane.json",
        "tune",
    ),
)


@pytest.mark.parametrize("name", LINKS)
def test_no_command_follows_a_link_in_a_run(copied: RunFolder, outside: Path, name: str) -> None:
    link = copied.folder / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    if name == "sweep.json":
        outside.write_text(json.dumps({"name": SECRET}))
    before = outside.read_text()
    for command in (
        ["status"],
        ["resume", "--inline", "--tracking", "none"],
        ["report"],
        ["deliver"],
        ["export"],
    ):
        done = sweep(command[0], "latest", *command[1:], *home_of(copied))
        assert done.code == 2
        assert (
            f"is a file or a folder, but {link} is a link to {outside}. Someone else may have made it"
            in done.err
        )
    with pytest.raises(RunError, match="is a link to"), copied.driving():
        pass
    assert outside.read_text() == before


def test_a_pipe_in_a_run_is_refused_and_optunas_own_lock_is_not(copied: RunFolder) -> None:
    (copied.folder / "study.journal.lock").symlink_to(copied.study)
    assert sweep("status", "latest", *home_of(copied)).code == 0
    os.mkfifo(copied.folder / "stop")
    assert "is a pipe, a socket or a device" in sweep("status", "latest", *home_of(copied)).err


def test_reproductions_are_not_written_through_a_link(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "home" / "reproductions" / "toys-smoke"
    folder.mkdir(parents=True)
    (folder / "page.md").symlink_to(outside)
    done = sweep("reproduce", "toys", "--scale", "smoke", "--show", "--home", tmp_path / "home")
    assert done.code == 2
    assert outside.read_text() == SECRET


def test_a_checkpoint_is_of_the_file_in_its_folder_that_its_content_names(
    copied: RunFolder,
) -> None:
    """Whoever writes an index can seal it too; a name in it leads nowhere."""
    folder = next(path for path in copied.checkpoints.iterdir() if (path / "lane.json").is_file())
    index = json.loads((folder / "lane.json").read_text())
    del index["checksum"]
    away = copied.folder / "away.safetensors"
    shutil.copyfile(folder / index["tensors"], away)
    for name in ("../../away", str(away)):
        (folder / "lane.json").write_bytes(checkpoint_index.seal(index | {"sha256": name}))
        with pytest.raises(CheckpointError, match=re.escape(repr(name))):
            checkpoint.load(folder)
    (folder / "lane.json").write_bytes(checkpoint_index.seal(index | {"tensors": str(away)}))
    (folder / index["tensors"]).unlink()
    with pytest.raises(CheckpointError, match=re.escape(index["tensors"])):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "command",
    [("status", "../../x"), ("run", "../x"), ("run", "os.path"), ("reproduce", "../x"),
     ("reproduce", "table1", "--rows", "../x", "--show"), ("data", "fetch", "../x")],
)  # fmt: skip
def test_names_of_the_command_line_are_looked_up_and_never_opened(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "x").mkdir()
    where = [] if command[0] == "data" else ["--home", str(tmp_path / "a" / "b")]
    done = sweep(*command, *where)
    assert done.code == 2
    assert "There is no " in done.err


def test_a_trial_is_a_number(run: RunMaker) -> None:
    outside: Any = "../../x"
    with pytest.raises((ValueError, TypeError)):
        RunFolder(run.folder).checkpoint(outside)


def test_nothing_that_was_stored_is_ever_run(repo_root: Path) -> None:
    loads = re.compile(
        r"\b(import (pickle|marshal|shelve|dill|joblib)|(?<!safetensors\.)torch\.load|np\.load|yaml\.load\(|shell=True|eval\(|exec\()"
    )
    sources = [
        path
        for name in ("analysis", "search_spaces", "sweeps", "zoneout_core")
        for path in (repo_root / name).rglob("*.py")
        if "conformance" not in path.parts  # tests, which read nothing that was stored
    ]
    assert len(sources) > 100
    found = [
        f"{path.name}: {line}"
        for path in sources
        for line in path.read_text().splitlines()
        if loads.search(line)
    ]
    assert found == []


def test_sockets_in_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(RunError, match="is a pipe, a socket or a device"):
            refuse_links(tmp_path)
