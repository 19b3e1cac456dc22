"""Every file says its format, and one of another format is refused in one sentence."""

import json
from pathlib import Path

import pytest

from sweeps import secrets
from sweeps.books import checksums, provenance
from sweeps.books.run_folder import RunFolder
from sweeps.tracking.delivery import Tracking
from tests.sweeps.commands import sweep
from zoneout_core.errors import ConfigError, RunError
from zoneout_core.formats import FORMATS
from zoneout_core.kernels.memory import Answer, Memory

SEALED = ("sweep.json", "provenance.json", "tracking.json")


def as_format(run: RunFolder, name: str, number: int) -> Path:
    """The same content, sealed with another number."""
    file = run.folder / name
    data = {"format": number, **checksums.read(file)}
    file.write_text(json.dumps(data | {checksums.KEY: checksums.of_json(data)}))
    return file


def test_every_file_of_a_run_says_its_format(copied: RunFolder, tmp_path: Path) -> None:
    Tracking("sqlite:///nowhere.db", "demo").save(copied)
    secrets.keep(copied.folder, "storage", "postgresql://me:password@here/optuna")
    for name in (*SEALED, "secrets.json"):
        assert json.loads((copied.folder / name).read_text())["format"] == FORMATS[name], name
    header, _, _ = copied.journal.read_text().partition("\n")
    assert json.loads(header)["format"] == FORMATS["journal.jsonl"]
    for lane in copied.checkpoints.glob("*/lane.json"):
        assert json.loads(lane.read_text())["format"] == FORMATS["lane.json"]
    exported = sweep("export", copied.name, "--home", copied.folder.parent, "--json")
    assert json.loads(exported.out)["format"] == FORMATS["export"]
    Memory(run=tmp_path / "products").keep_for_run("which?", Answer("mm", "asked for"))
    (product,) = (tmp_path / "products").glob("*.json")
    assert json.loads(product.read_text())["format"] == FORMATS["product"]


def test_a_run_of_version_0_1_is_refused_with_what_to_do(copied: RunFolder) -> None:
    file = copied.folder / "sweep.json"
    file.write_text('{"name": "demo"}')
    with pytest.raises(RunError) as error:
        copied.definition()
    assert str(error.value) == (
        f"This version reads a sweep.json of format {FORMATS['sweep.json']}, but {file} is without"
        " the number of its format, as version 0.1 wrote it. Read the run with the version that"
        " wrote it, or begin a new one; see what can be run with: sweep ls"
    )
    home = copied.folder.parent
    for command in ("status", "resume"):
        done = sweep(command, copied.name, "--home", home)
        assert (done.code, done.err) == (2, f"error: {error.value}\n")
    listed = sweep("ls", "--runs", "--home", home, width=400)
    assert listed.code == 0
    assert "as version 0.1 wrote it" in listed.out


@pytest.mark.parametrize("number", [1, 99])
def test_a_definition_of_another_format_is_refused(copied: RunFolder, number: int) -> None:
    file = as_format(copied, "sweep.json", number)
    with pytest.raises(RunError) as error:
        copied.definition()
    assert f"but {file} is of format {number}. Read the run with the version" in str(error.value)


def test_provenance_of_another_format_is_taken_from_the_journal(copied: RunFolder) -> None:
    file = as_format(copied, "provenance.json", 1)
    entries, wrong = provenance.known(file, copied.journal)
    assert [entry.from_journal for entry in entries] == [True]
    assert wrong.endswith(f"but {file} is of format 1.")


def test_tracking_of_another_format_is_refused(copied: RunFolder) -> None:
    Tracking("sqlite:///nowhere.db", "demo").save(copied)
    as_format(copied, "tracking.json", 1)
    with pytest.raises(RunError, match=r"is of format 1.*Write it anew with: sweep deliver"):
        Tracking.of(copied)


def test_secrets_without_a_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"storage": "postgresql://me:password@here/optuna"}')
    with pytest.raises(ConfigError) as error:
        secrets.unmask("postgresql://me:***@here/optuna", "storage", tmp_path)
    assert str(error.value) == (
        f"This version reads a secrets.json of format 2, but {tmp_path}/secrets.json is without"
        " the number of its format, as version 0.1 wrote it. Delete it, and give the whole address again: --set storage=URL or --tracking URL"
    )


def test_a_product_of_another_format_is_found_out_again(tmp_path: Path) -> None:
    Memory(run=tmp_path).keep_for_run("which?", Answer("mm", "asked for"))
    (product,) = tmp_path.glob("*.json")
    assert Memory(run=tmp_path).recall("which?") == Answer("mm", "asked for")
    product.write_text(product.read_text().replace('"format": 2', '"format": 1'))
    assert Memory(run=tmp_path).recall("which?") is None
