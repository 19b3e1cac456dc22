import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sweeps.books import checksums
from sweeps.books.events import CLASSES, Event, RecordEvent, TrialEvent, UnknownEvent, WarningEvent
from sweeps.books.journal import (
    Damage,
    Journal,
    JournalReader,
    follow,
    inspect,
    read,
    rewrite,
)
from tests.sweeps.journals import PLACEMENT
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import HomeError, RunError
from zoneout_core.records import CHARACTERS

HEADER = b'{"journal":"zoneout-sweeps","format":3,"line":1,"crc32":"52b9a40a"}'


def note(number: int) -> Event:
    return WarningEvent(time=1.0 + number, text=f"warning {number}")


def line(fields: dict[str, Any], number: int) -> bytes:
    return checksums.seal(json.dumps(fields | {"line": number}).encode()) + b"\n"


def notes(path: Path, count: int) -> list[bytes]:
    """A journal with so many warnings; its lines."""
    with Journal(path) as journal:
        for number in range(count):
            journal.append(note(number))
    return path.read_bytes().splitlines(keepends=True)


def refused(path: Path) -> str:
    with pytest.raises(RunError) as error:
        list(read(path))
    return str(error.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run1").mkdir()
    return tmp_path / "run1" / "journal.jsonl"


def test_events_come_back_in_order_one_json_object_a_line(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(3):
            journal.append(note(number))
        assert list(journal.events()) == [note(0), note(1), note(2)]
    lines = path.read_bytes().splitlines()
    assert lines[0] == HEADER
    assert (
        lines[2]
        == b'{"event":"warning","time":2.0,"text":"warning 1","line":3,"crc32":"%s"}'
        % lines[2][-10:-2]
    )


def test_an_event_without_a_time_is_stamped_and_returned_as_written(path: Path) -> None:
    before = time.time()
    with Journal(path) as journal:
        written = journal.append(WarningEvent(text="now"))
    assert before <= written.time <= time.time()
    assert list(read(path)) == [written]


def test_opening_again_appends(path: Path) -> None:
    for number in range(2):
        with Journal(path) as journal:
            journal.append(note(number))
    assert list(read(path)) == [note(0), note(1)]


@pytest.mark.parametrize(
    "torn", [b"{", b'{"event":"warning","text":"' + b"x" * 200_000, b"\0" * 4096]
)
def test_opening_cuts_off_a_torn_last_line(path: Path, torn: bytes) -> None:
    with Journal(path) as journal:
        journal.append(note(0))
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with Journal(path) as journal:
        assert path.read_bytes() == whole
        journal.append(note(1))
    assert list(read(path)) == [note(0), note(1)]


@pytest.mark.parametrize("torn", [b"", b'{"journal":"zon', b"\0" * 100])
def test_a_file_that_is_empty_or_only_a_torn_line_begins_with_its_format(
    path: Path, torn: bytes
) -> None:
    path.write_bytes(torn)
    Journal(path).close()
    assert path.read_bytes() == HEADER + b"\n"
    assert (list(read(path)), inspect(path)) == ([], ([], []))


def test_a_reader_waits_for_a_line_that_is_still_being_written(path: Path) -> None:
    reader = JournalReader(path)
    assert reader.new() == []  # no file yet
    first, second = line(msgspec.to_builtins(note(0)), 2), line(msgspec.to_builtins(note(1)), 3)
    path.write_bytes(HEADER + b"\n" + first + second[:10])
    assert reader.new() == [note(0)]
    assert reader.new() == []
    with path.open("ab") as file:
        file.write(second[10:])
    assert reader.new() == [note(1)]


def test_a_damaged_line_is_named_with_what_mends_it(path: Path) -> None:
    lines = notes(path, 3)
    lines[2] = lines[2].replace(b"warning 1", b"warning 9")
    path.write_bytes(b"".join(lines))
    assert refused(path) == (
        f"Every line of a journal must be as it was written, but line 3 of {path} adds up to "
        f'{checksums.checksum(lines[2][:-21])}, but ends with \',"crc32":"{lines[2][-11:-3].decode()}"}}\'. '
        f"Mend it with: sweep resume run1 --home {path.parent.parent}"
    )
    events, damages = inspect(path)
    assert events == [note(0), note(2)]
    assert [damage.line for damage in damages] == [3]


def test_every_flipped_bit_is_found(path: Path) -> None:
    whole = b"".join(notes(path, 1))
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        events, damages = inspect(path)
        if damages:
            assert "of a journal must be as it was written, but line" in refused(path)
        else:  # the last newline: a torn line, as a killed writer leaves it
            assert bit // 8 == len(whole) - 1
            assert events == []


def test_lines_that_are_lost_or_repeated_are_found(path: Path) -> None:
    lines = notes(path, 4)
    path.write_bytes(b"".join([*lines[:2], *lines[4:]]))
    assert "line 3 of" in refused(path)
    assert inspect(path) == (
        [note(0), note(3)],
        [Damage(3, "says that it is line 5: 2 before it are lost")],
    )
    path.write_bytes(b"".join(lines[1:]))
    assert inspect(path)[1] == [Damage(1, "says that it is line 2: 1 before it are lost")]
    path.write_bytes(b"".join([*lines[:3], *lines[1:]]))
    assert inspect(path)[0] == [note(number) for number in range(4)]
    assert [damage.what for damage in inspect(path)[1]] == ["repeats line 2", "repeats line 3"]


PLAIN = {
    "driver": {"pid": 1, "host": "here", "mode": "ray"},
    "trial": msgspec.to_builtins(TrialEvent.of(0, {}, TrialConfig(), CHARACTERS)),
    "placed": {"trial": 0} | msgspec.to_builtins(PLACEMENT),
    "record": {"trial": 0, "epoch": 1, "updates": 4, "metrics": {"train_bpc": 1.0}},
    "end": {"trial": 0, "state": "complete", "reason": "all 1 epochs", "epoch": 1},
    "artifact": {"path": "report/heatmap.png", "name": "heatmap.png"},
    "warning": {"text": "now"},
    "closed": {"state": "finished", "reason": "all trials ended"},
}
"""What an event of each kind must have."""


@pytest.mark.parametrize("kind", CLASSES)
def test_an_event_that_lacks_a_field_is_no_event_of_its_kind(path: Path, kind: str) -> None:
    notes(path, 1)
    before = path.read_bytes()
    whole = {"event": kind, "time": 1.0} | PLAIN[kind] | {"event": kind, "time": 1.0}
    for name in PLAIN[kind].keys() - {"event", "time"}:
        path.write_bytes(before + line({key: whole[key] for key in whole if key != name}, 3))
        assert (
            f"line 3 of {path} is no {kind} that can be read (Object missing required field "
            f"`{name}`). Mend it with"
        ) in refused(path)
    path.write_bytes(before + line(whole | {"time": 0.0}, 3))
    assert f"is a {kind} without its time" in refused(path)


@pytest.mark.parametrize(
    ("kind", "field", "value", "wrong"),
    [
        ("record", "epoch", "1", "Expected `int`, got `str` - at `$.epoch`"),
        ("record", "metrics", {"train_bpc": "1"}, "at `$.metrics[...]`"),
        ("end", "state", "ended", "Invalid enum value 'ended' - at `$.state`"),
        ("driver", "mode", "spark", "Invalid enum value 'spark' - at `$.mode`"),
    ],
)
def test_a_field_of_another_type_is_damage(
    path: Path, kind: str, field: str, value: object, wrong: str
) -> None:
    notes(path, 1)
    fields = {"event": kind, "time": 1.0} | PLAIN[kind] | {field: value}
    path.write_bytes(path.read_bytes() + line(fields, 3))
    assert f"line 3 of {path} is no {kind} that can be read" in refused(path)
    assert wrong in refused(path)


def test_what_a_later_version_adds_does_no_harm(path: Path) -> None:
    notes(path, 1)
    before = path.read_bytes()
    path.write_bytes(
        before
        + line({"event": "warning", "time": 9.0, "text": "t", "level": 3}, 3)
        + line({"event": "of a later version", "time": 9.5, "size": [1, None]}, 4)
    )
    warning, unknown = list(read(path))[1:]
    assert warning == WarningEvent(time=9.0, text="t")
    assert unknown == UnknownEvent(
        kind="of a later version",
        time=9.5,
        line={"event": "of a later version", "time": 9.5, "size": [1, None]},
    )
    rewrite(path, [note(0), unknown])
    assert list(read(path)) == [note(0), unknown], "and it survives mending"


def test_a_journal_of_another_format_is_refused_in_one_sentence(path: Path) -> None:
    path.write_bytes(b'{"event":"driver","time":1.0,"pid":1,"host":"here","mode":"ray"}\n')
    old = (
        f"This version reads journals of format 3, but {path} is of format 1, of version 0.1. "
        "Read it with version 0.1, or begin a new run with: sweep run NAME"
    )
    assert refused(path) == old
    with pytest.raises(RunError, match="of format 1, of version 0.1"):
        inspect(path)
    path.write_bytes(line({"journal": "zoneout-sweeps", "format": 4}, 1))
    assert refused(path) == (
        f"This version reads journals of format 3, but {path} is of format 4. Read it with the version that wrote it."
    )


def test_what_is_rewritten_is_read_again_and_a_reader_of_what_was_there_is_told(path: Path) -> None:
    notes(path, 3)
    reader = JournalReader(path)
    assert len(reader.new()) == 3
    rewrite(path, [note(0), note(2)])
    assert list(read(path)) == [note(0), note(2)]
    with pytest.raises(RunError, match="was mended while it was read. Read it again"):
        reader.new()
    with Journal(path) as journal:
        journal.append(note(4))
    assert list(read(path)) == [note(0), note(2), note(4)]


def test_a_trial_that_was_asked_for_is_told_whole() -> None:
    config = TrialConfig().with_values({"hidden_size": 12})
    event = TrialEvent.of(3, {}, config, CHARACTERS)
    assert event.config == config.to_json()
    assert len(event.config["optim"]) > 5, "also what has its default"
    assert msgspec.json.decode(msgspec.json.encode(event), type=TrialEvent) == event


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused_and_leaves_no_trace(
    path: Path, value: float
) -> None:
    record = RecordEvent(trial=0, epoch=1, updates=4, metrics={"train_bpc": value})
    with Journal(path) as journal, pytest.raises(ValueError, match="has finite numbers only"):
        journal.append(record)
    assert path.read_bytes() == HEADER + b"\n"


def test_a_folder_that_is_gone_is_a_home_error(tmp_path: Path) -> None:
    path = tmp_path / "run7" / "journal.jsonl"
    with pytest.raises(HomeError) as error:
        Journal(path)
    assert str(error.value) == (
        f"The journal {path} must take every event, but cannot be written: No such file or directory. "
        f"Mend that, then go on with: sweep resume run7 --home {path.parents[1]}"
    )


def test_appending_to_a_deleted_file_is_a_home_error(path: Path) -> None:
    journal = Journal(path)
    path.unlink()
    with pytest.raises(HomeError) as error:
        journal.append(note(0))
    journal.close()
    assert str(error.value) == (
        f"The journal {path} must take every event, but cannot be written: the file was deleted. "
        f"Mend that, then go on with: sweep resume run1 --home {path.parents[1]}"
    )


FULL_DISK = """
import resource, signal, sys
from sweeps.books.events import WarningEvent
from sweeps.books.journal import Journal
from zoneout_core.errors import HomeError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(sys.argv[1])
event = WarningEvent(time=1.0, text="x" * 50)
journal.append(event)
resource.setrlimit(resource.RLIMIT_FSIZE, (240, resource.RLIM_INFINITY))  # in the middle of the third line
try:
    journal.append(event)
except HomeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(event)
journal.close()
"""


def test_a_file_that_cannot_grow_is_a_home_error_and_keeps_whole_lines(
    path: Path, repo_root: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        f"The journal {path} must take every event, but cannot be written: File too large. "
        f"Mend that, then go on with: sweep resume run1 --home {path.parents[1]}\n"
    )
    assert [event.text for event in read(path)] == ["x" * 50] * 2


WRITER = """
import sys
from sweeps.books.events import WarningEvent
from sweeps.books.journal import Journal
journal = Journal(sys.argv[1])
print("ready", flush=True)
for number in range(10_000_000):
    journal.append(WarningEvent(time=1.0, text=f"{number} " + "x" * (number % 3000)))
    print(number, flush=True)
"""


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.2])
def test_kill_9_loses_no_event_that_append_returned_from(
    path: Path, repo_root: Path, seconds: float
) -> None:
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
        numbers = [int(event.text.split()[0]) for event in journal.events()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= told > 0


def test_several_threads_append_whole_lines(path: Path) -> None:
    with Journal(path) as journal:
        threads = [
            threading.Thread(target=lambda: [journal.append(note(n)) for n in range(200)])
            for _ in range(8)
        ]
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
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: calls.append(descriptor) or fsync(descriptor)
    )
    with Journal(path, sync_seconds) as journal:
        for number in range(5):
            journal.append(note(number))
    assert len(calls) == syncs
    journal.close()  # closing twice is harmless
    assert len(calls) == syncs


def test_follow_tells_events_as_they_come_and_all_before_the_stop(path: Path) -> None:
    stopped = threading.Event()
    seen: list[Event] = []
    reading = threading.Thread(
        target=lambda: seen.extend(follow(path, stopped.is_set, poll_seconds=0.01))
    )
    reading.start()
    with Journal(path) as journal:
        for number in range(20):
            journal.append(note(number))
            time.sleep(0.002)
        stopped.set()
    reading.join(5)
    assert seen == [note(number) for number in range(20)]
