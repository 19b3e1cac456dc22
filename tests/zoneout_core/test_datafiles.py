"""What is said about a data file that is missing, truncated or another one."""

import hashlib
from pathlib import Path

import pytest

from zoneout_core.data.datafiles import (
    DataFile,
    FileState,
    default_data_dir,
    fetch_command,
    inspect,
    verify,
)
from zoneout_core.errors import DataError

CONTENT = b"0123456789" * 400
FILE = DataFile(
    path="some/text.txt",
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    addresses=("https://x/text.txt",),
)


def put(folder: Path, content: bytes) -> Path:
    location = folder / FILE.path
    location.parent.mkdir(exist_ok=True)
    location.write_bytes(content)
    return location


def test_every_state_is_told(tmp_path: Path) -> None:
    assert inspect(FILE, tmp_path).detail == "missing"
    location = put(tmp_path, CONTENT)
    found = inspect(FILE, tmp_path)
    assert (found.file, found.location, found.state, found.detail) == (
        FILE,
        location,
        FileState.OK,
        "ok",
    )
    put(tmp_path, CONTENT[:1234])
    assert inspect(FILE, tmp_path).detail == "truncated (1,234 of 4,000 bytes)"
    for other in (b"x" + CONTENT[1:], CONTENT + b"\n"):
        put(tmp_path, other)
        digest = hashlib.sha256(other).hexdigest()
        assert (
            inspect(FILE, tmp_path).detail == f"wrong hash ({len(other):,} bytes, SHA-256 {digest})"
        )
    location.unlink()
    location.mkdir()
    assert inspect(FILE, tmp_path).detail == "unreadable (Is a directory)"


def test_verify_passes_what_is_right(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    verify("letters", [FILE], tmp_path)


def test_verify_names_each_bad_file_what_it_should_be_and_the_mending_command(
    tmp_path: Path,
) -> None:
    missing = DataFile(path="other.txt", bytes=1_000_000, sha256="ab" * 32, addresses=())
    folder = tmp_path / "my data"
    folder.mkdir()
    put(folder, CONTENT[:10])
    with pytest.raises(DataError) as error:
        verify("letters", [FILE, missing], folder)
    assert str(error.value) == (
        "Task letters needs its data files whole and unchanged, but found\n"
        f"  {folder}/some/text.txt: truncated (10 of 4,000 bytes); expected 4,000 bytes, SHA-256 {FILE.sha256}\n"
        f"  {folder}/other.txt: missing; expected 1,000,000 bytes, SHA-256 {'ab' * 32}\n"
        f"Fetch them with: sweep data fetch letters --data '{folder}'"
    )


def test_the_command_can_be_pasted_in_any_folder() -> None:
    assert (
        fetch_command("char_ptb", Path("my data"))
        == f"sweep data fetch char_ptb --data '{Path.cwd() / 'my data'}'"
    )


def test_the_default_folder_is_zoneout_data_or_data_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONEOUT_DATA", "/some/where")
    assert default_data_dir() == Path("/some/where")
    for unset in ("", None):
        monkeypatch.delenv("ZONEOUT_DATA")
        if unset is not None:
            monkeypatch.setenv("ZONEOUT_DATA", unset)
        assert default_data_dir() == Path("data")
        monkeypatch.setenv("ZONEOUT_DATA", "again")
