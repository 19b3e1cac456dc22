"""Fetching from real servers on the loopback: with and without ranges, cut, refusing, serving other
bytes, packed."""

import fcntl
import gzip
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from zoneout_core.data.archives import unpack
from zoneout_core.data.datafiles import DataFile
from zoneout_core.data.fetch import TRIES, fetch
from zoneout_core.errors import DataError

CONTENT = bytes(i * i % 251 for i in range(200_000))
SIZE = len(CONTENT)


class FileServer(ThreadingHTTPServer):
    """Serves `content` at every path, and misbehaves as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.ranges = True
        self.cuts: list[int] = []
        """For each coming answer, the number of bytes after which the connection is cut."""
        self.codes: list[int] = []
        """Error codes of the coming answers."""
        self.asked: list[str | None] = []
        """The Range header of each request."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/text.txt"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        if self.server.codes:
            self.send_error(self.server.codes.pop(0))
            return
        start = (
            int(asked.removeprefix("bytes=").removesuffix("-"))
            if asked and self.server.ranges
            else 0
        )
        total = len(self.server.content)
        if start >= total:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = self.server.content[start:]
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def file_at(*addresses: str) -> DataFile:
    return DataFile(
        path="some/text.txt",
        bytes=SIZE,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        addresses=addresses,
    )


def put(location: Path, content: bytes) -> Path:
    location.parent.mkdir(parents=True, exist_ok=True)
    location.write_bytes(content)
    return location


def part_of(folder: Path) -> Path:
    return folder / "some" / "text.txt.part"


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "some").iterdir())


def failing(file: DataFile, folder: Path, source: str = "") -> str:
    with pytest.raises(DataError) as error:
        fetch("letters", file, folder, source=source, pause=0.0)
    return str(error.value)


def test_a_file_arrives_whole_and_tells_its_progress(server: FileServer, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    location = fetch(
        "letters", file_at(server.address), tmp_path, progress=lambda *now: told.append(now)
    )
    assert location == tmp_path / "some" / "text.txt"
    assert location.read_bytes() == CONTENT
    assert names_in(tmp_path) == ["text.txt"]
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((0, SIZE), (SIZE, SIZE))
    assert len(told) > 3


def test_a_cut_connection_goes_on_where_it_stopped(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [70_000, 50_000]
    location = fetch("letters", file_at(server.address), tmp_path, pause=0.0)
    assert location.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-", "bytes=120000-"]


def test_a_server_without_ranges_starts_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [70_000]
    told: list[int] = []
    location = fetch(
        "letters",
        file_at(server.address),
        tmp_path,
        pause=0.0,
        progress=lambda done, _expected: told.append(done),
    )
    assert location.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-"]
    assert told.count(0) == 2


def test_the_next_fetch_goes_on_after_one_that_gave_up(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [70_000, 0, 0]
    file = file_at(server.address)
    assert failing(file, tmp_path) == (
        f"some/text.txt could not be fetched; {tmp_path}/some/text.txt is as it was: missing.\n"
        f"  {server.address} failed: only 70,000 of 200,000 bytes came\n"
        f"  {tmp_path}/some/text.txt.part keeps 70,000 of 200,000 bytes; the same command goes on from there.\n"
        f"Name another address: sweep data fetch letters --data {tmp_path} --from URL_OR_FOLDER"
    )
    assert part_of(tmp_path).read_bytes() == CONTENT[:70_000]
    server.asked.clear()
    assert fetch("letters", file, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=70000-"]


def test_an_interrupt_keeps_what_came(server: FileServer, tmp_path: Path) -> None:
    def interrupt(done: int, _expected: int) -> None:
        if done >= 65_536:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("letters", file_at(server.address), tmp_path, progress=interrupt)
    kept = part_of(tmp_path).stat().st_size
    assert kept >= 65_536
    assert fetch("letters", file_at(server.address), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={kept}-"]


@pytest.mark.parametrize(
    ("left_over", "asked"),
    [
        pytest.param(CONTENT + b"more", [None], id="longer than the file: starts again"),
        pytest.param(CONTENT, [], id="complete already: nothing to ask for"),
        pytest.param(
            b"x" * 70_000,
            ["bytes=70000-", None],
            id="other bytes: starts again after the wrong hash",
        ),
        pytest.param(b"x" * SIZE, [None], id="as many other bytes: the same"),
    ],
)
def test_what_an_earlier_fetch_left_is_used_if_it_can_be(
    left_over: bytes, asked: list[str | None], server: FileServer, tmp_path: Path
) -> None:
    put(part_of(tmp_path), left_over)
    assert fetch("letters", file_at(server.address), tmp_path, pause=0.0).read_bytes() == CONTENT
    assert server.asked == asked
    assert names_in(tmp_path) == ["text.txt"]


def test_wrong_content_never_replaces_a_good_file(server: FileServer, tmp_path: Path) -> None:
    location = put(tmp_path / "some" / "text.txt", CONTENT)
    server.content = b"y" + CONTENT[1:]
    found, expected = (hashlib.sha256(content).hexdigest() for content in (server.content, CONTENT))
    assert failing(file_at(server.address), tmp_path) == (
        f"some/text.txt could not be fetched; the good file at {location} was kept.\n"
        f"  {server.address} has the wrong content: SHA-256 {found}, expected {expected}\n"
        f"Name another address: sweep data fetch letters --data {tmp_path} --from URL_OR_FOLDER"
    )
    assert location.read_bytes() == CONTENT
    assert names_in(tmp_path) == ["text.txt"]
    assert len(server.asked) == 1, "asking the same server for the wrong file again helps nobody"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (CONTENT[:-1], "has fewer than 200,000 bytes"),
        (CONTENT + b"\n", "failed: more than 200,000 bytes came"),
    ],
)
def test_a_file_of_another_length_is_refused(
    content: bytes, complaint: str, server: FileServer, tmp_path: Path
) -> None:
    server.content = content
    assert f"  {server.address} {complaint}\n" in failing(file_at(server.address), tmp_path)
    assert not (tmp_path / "some" / "text.txt").exists()


def test_a_refusal_goes_to_the_next_address_at_once(server: FileServer, tmp_path: Path) -> None:
    server.codes = [404]
    file = file_at(server.address, server.address)
    assert fetch("letters", file, tmp_path, pause=60.0).read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("code", [503, 429])
def test_a_passing_error_is_tried_again(code: int, server: FileServer, tmp_path: Path) -> None:
    server.codes = [code, code]
    assert fetch("letters", file_at(server.address), tmp_path, pause=0.0).read_bytes() == CONTENT
    assert len(server.asked) == TRIES


def test_every_address_that_failed_is_told(server: FileServer, tmp_path: Path) -> None:
    server.codes = [404]
    nobody = "http://127.0.0.1:1/text.txt"
    put(tmp_path / "some" / "text.txt", CONTENT[:5])
    assert failing(file_at(server.address, nobody), tmp_path) == (
        f"some/text.txt could not be fetched; "
        f"{tmp_path}/some/text.txt is as it was: truncated (5 of 200,000 bytes).\n"
        f"  {server.address} answered 404 Not Found\n"
        f"  {nobody} failed: [Errno 111] Connection refused\n"
        f"Name another address: sweep data fetch letters --data {tmp_path} --from URL_OR_FOLDER"
    )
    assert names_in(tmp_path) == ["text.txt"]


def test_another_address_is_one_for_all_files_of_a_task(server: FileServer, tmp_path: Path) -> None:
    address = server.address.removesuffix("text.txt")
    file = file_at("http://127.0.0.1:1/text.txt")
    assert fetch("letters", file, tmp_path, source=address, pause=0.0).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["some/text.txt", "text.txt"])
def test_a_folder_serves_too_laid_out_either_way(path: str, tmp_path: Path) -> None:
    put(tmp_path / "source" / path, CONTENT)
    location = fetch("letters", file_at(), tmp_path / "data", source=str(tmp_path / "source"))
    assert location.read_bytes() == CONTENT


def test_a_folder_without_the_file_is_told(tmp_path: Path) -> None:
    assert failing(file_at(), tmp_path, source="nowhere") == (
        "--from must be a URL or a folder that holds some/text.txt or text.txt, but 'nowhere' holds neither."
    )


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "some").write_text("not a folder")
    assert failing(file_at("http://127.0.0.1:1/text.txt"), tmp_path) == (
        f"{tmp_path}/some/text.txt.part must be writable, but is not (File exists). "
        "Choose another folder with --data DIR."
    )


def test_a_folder_in_the_place_of_the_file_is_told(server: FileServer, tmp_path: Path) -> None:
    location = tmp_path / "some" / "text.txt"
    location.mkdir(parents=True)
    assert failing(file_at(server.address), tmp_path) == (
        f"{location}.part is whole but must be renamed to text.txt, which failed (Is a directory). "
        "Move away what is there, and run the same command again."
    )
    location.rmdir()
    assert fetch("letters", file_at(server.address), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None]


def test_two_fetches_of_one_file_do_not_mix(server: FileServer, tmp_path: Path) -> None:
    part = put(part_of(tmp_path), b"")
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert failing(file_at(server.address), tmp_path) == (
            f"{part} is being fetched by another process. Wait for it, or stop it."
        )
    assert server.asked == []
    assert fetch("letters", file_at(server.address), tmp_path).read_bytes() == CONTENT


def packed(suffix: str) -> bytes:
    """CONTENT as a `.gz`, or as the member `text.txt` of a `.zip`."""
    if suffix == "gz":
        return gzip.compress(CONTENT, mtime=0)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("text.txt", CONTENT)
    return whole.getvalue()


def packed_file(server: FileServer, suffix: str, sha256: str = "") -> DataFile:
    server.content = packed(suffix)
    archive = DataFile(
        path=f"some/text.txt.{suffix}",
        bytes=len(server.content),
        sha256=hashlib.sha256(server.content).hexdigest(),
        addresses=(f"{server.address}.{suffix}",),
    )
    sha256 = sha256 or hashlib.sha256(CONTENT).hexdigest()
    return DataFile(path="some/text.txt", bytes=SIZE, sha256=sha256, archive=archive)


@pytest.mark.parametrize("suffix", ["gz", "zip"])
def test_a_packed_file_is_unpacked_and_its_archive_deleted(
    suffix: str, server: FileServer, tmp_path: Path
) -> None:
    file = packed_file(server, suffix)
    server.cuts = [1000]
    assert fetch("letters", file, tmp_path, pause=0.0).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]
    assert names_in(tmp_path) == ["text.txt"]


def test_an_archive_that_does_not_come_leaves_the_good_file(
    server: FileServer, tmp_path: Path
) -> None:
    location = put(tmp_path / "some" / "text.txt", CONTENT)
    server.codes = [404]
    assert failing(packed_file(server, "gz"), tmp_path) == (
        f"some/text.txt.gz could not be fetched; {location}.gz is as it was: missing.\n"
        f"  {server.address}.gz answered 404 Not Found\n"
        f"Name another address: sweep data fetch letters --data {tmp_path} --from URL_OR_FOLDER"
    )
    assert location.read_bytes() == CONTENT
    assert names_in(tmp_path) == ["text.txt"]


def test_an_archive_of_another_file_is_refused(server: FileServer, tmp_path: Path) -> None:
    file = packed_file(server, "zip", sha256="ab" * 32)
    assert failing(file, tmp_path) == (
        f"{tmp_path}/some/text.txt.zip holds another text.txt: "
        f"SHA-256 {hashlib.sha256(CONTENT).hexdigest()}, expected {'ab' * 32}."
    )
    assert names_in(tmp_path) == ["text.txt.zip"]
    assert failing(file, tmp_path)
    assert len(server.asked) == 1, "an archive that is whole is not fetched again"


def test_a_full_disk_is_told_and_the_archive_kept(server: FileServer, tmp_path: Path) -> None:
    file = packed_file(server, "gz")
    assert file.archive is not None
    archive = put(tmp_path / file.archive.path, packed("gz"))
    with pytest.raises(DataError) as error, Path("/dev/full").open("r+b", buffering=0) as full:
        unpack(archive, full, file)
    assert str(error.value) == (
        f"{archive} must be unpacked, which failed (No space left on device). "
        "Make room there, and run the same command again."
    )
    assert archive.exists()


@pytest.mark.parametrize("path", ["text.txt", "some/text.txt.gz"])
def test_a_folder_serves_a_packed_file_either_way(
    path: str, server: FileServer, tmp_path: Path
) -> None:
    file = packed_file(server, "gz")
    put(tmp_path / "source" / path, packed("gz") if path.endswith("gz") else CONTENT)
    assert (
        fetch("letters", file, tmp_path / "data", source=str(tmp_path / "source")).read_bytes()
        == CONTENT
    )
    assert names_in(tmp_path / "data") == ["text.txt"]
    assert (tmp_path / "source" / path).exists()
    assert server.asked == []
