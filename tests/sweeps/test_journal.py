import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweeps.journal import Journal, Reader, follow, read
from zoneout_core.errors import HomeError, RunError


def note(number: int) -> dict[str, object]:
    return {"event": "warning", "time": float(number), "text": f"warning {number}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run1").mkdir()
    return tmp_path / "run1" / "journal.jsonl"


def test_events_come_back_in_order_one_json_object_a_line(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(3):
            journal.append(note(number))
        assert list(journal.events()) == [note(0), note(1), note(2)]
    assert path.read_text().splitlines()[1] == '{"event":"warning","time":1.0,"text":"warning 1"}'


def test_an_event_without_a_time_is_stamped_and_returned_as_written(path: Path) -> None:
    before = time.time()
    with Journal(path) as journal:
        written = journal.append({"event": "warning", "text": "now"})
    assert before <= written["time"] <= time.time()
    assert list(read(path)) == [written]


def test_opening_again_appends(path: Path) -> None:
    for number in range(2):
        with Journal(path) as journal:
            journal.append(note(number))
    assert list(read(path)) == [note(0), note(1)]


@pytest.mark.parametrize("torn", [b"{", b'{"event":"warning","text":"' + b"x" * 200_000, b"\0" * 4096])
def test_opening_cuts_off_a_torn_last_line(path: Path, torn: bytes) -> None:
    with Journal(path) as journal:
        journal.append(note(0))
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with Journal(path) as journal:
        assert path.read_bytes() == whole
        journal.append(note(1))
    assert list(read(path)) == [note(0), note(1)]


def test_a_file_that_is_only_a_torn_line_becomes_empty(path: Path) -> None:
    path.write_bytes(b'{"event":"dri')
    Journal(path).close()
    assert path.read_bytes() == b""


def test_a_reader_waits_for_a_line_that_is_still_being_written(path: Path) -> None:
    line = json.dumps(note(0)).encode() + b"\n"
    reader = Reader(path)
    assert reader.new() == []  # no file yet
    path.write_bytes(line + line[:10])
    assert reader.new() == [note(0)]
    assert reader.new() == []
    path.write_bytes(line + line)
    assert reader.new() == [note(0)]


def test_a_damaged_line_is_named(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(note(0))
    with path.open("ab") as file:
        file.write(b'{"no event": 1}\n')
    with pytest.raises(RunError) as error:
        list(read(path))
    assert str(error.value) == (
        f"Every line of {path} must be a JSON object with `event` and `time`, but line 2 is b'{{\"no event\": 1}}'. "
        "The file was damaged: restore it, or delete that line."
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused_and_leaves_no_trace(path: Path, value: float) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match="not JSON compliant"):
        journal.append({"event": "record", "metrics": {"train_bpc": value}})
    assert path.read_bytes() == b""


def test_a_folder_that_is_gone_is_a_home_error(tmp_path: Path) -> None:
    path = tmp_path / "run7" / "journal.jsonl"
    with pytest.raises(HomeError) as error:
        Journal(path)
    assert str(error.value) == (
        f"The journal {path} must take every event, but cannot be written: No such file or directory. "
        "Mend that, then go on with: sweep resume run7"
    )


def test_appending_to_a_deleted_file_is_a_home_error(path: Path) -> None:
    journal = Journal(path)
    path.unlink()
    with pytest.raises(HomeError) as error:
        journal.append(note(0))
    journal.close()
    assert str(error.value) == (
        f"The journal {path} must take every event, but cannot be written: the file was deleted. "
        "Mend that, then go on with: sweep resume run1"
    )


FULL_DISK = """
import resource, signal, sys
from sweeps.journal import Journal
from zoneout_core.errors import HomeError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(sys.argv[1])
event = {"event": "warning", "time": 1.0, "text": "x" * 50}
journal.append(event)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))  # in the middle of the second line
try:
    journal.append(event)
except HomeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(event)
journal.close()
"""


def test_a_file_that_cannot_grow_is_a_home_error_and_keeps_whole_lines(path: Path, repo_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], cwd=repo_root, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"The journal {path} must take every event, but cannot be written: File too large. "
        "Mend that, then go on with: sweep resume run1\n"
    )
    assert [event["text"] for event in read(path)] == ["x" * 50] * 2


WRITER = """
import sys
from sweeps.journal import Journal
journal = Journal(sys.argv[1])
print("ready", flush=True)
for number in range(10_000_000):
    journal.append({"event": "warning", "time": 1.0, "text": f"{number} " + "x" * (number % 3000)})
    print(number, flush=True)
"""


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.2])
def test_kill_9_loses_no_event_that_append_returned_from(path: Path, repo_root: Path, seconds: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], cwd=repo_root, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        killer = threading.Timer(seconds, lambda: os.kill(writer.pid, signal.SIGKILL))
        killer.start()
        told = writer.stdout.read().count("\n")
        killer.join()
    with Journal(path) as journal:
        numbers = [int(event["text"].split()[0]) for event in journal.events()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= told > 0


def test_several_threads_append_whole_lines(path: Path) -> None:
    with Journal(path) as journal:
        threads = [threading.Thread(target=lambda: [journal.append(note(n)) for n in range(200)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(read(path))) == 1600


@pytest.mark.parametrize(("sync_seconds", "syncs"), [(0.0, 6), (3600.0, 1)])
def test_the_disk_is_synced_as_often_as_asked_and_on_closing(
    path: Path, monkeypatch: pytest.MonkeyPatch, sync_seconds: float, syncs: int
) -> None:
    calls = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(descriptor) or fsync(descriptor))
    with Journal(path, sync_seconds) as journal:
        for number in range(5):
            journal.append(note(number))
    assert len(calls) == syncs
    journal.close()  # closing twice is harmless
    assert len(calls) == syncs


def test_follow_tells_events_as_they_come_and_all_before_the_stop(path: Path) -> None:
    stopped = threading.Event()
    seen: list[dict[str, object]] = []
    reading = threading.Thread(target=lambda: seen.extend(follow(path, stopped.is_set, poll_seconds=0.01)))
    reading.start()
    with Journal(path) as journal:
        for number in range(20):
            journal.append(note(number))
            time.sleep(0.002)
        stopped.set()
    reading.join(5)
    assert seen == [note(number) for number in range(20)]
