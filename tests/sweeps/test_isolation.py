"""What goes wrong with one lane ends that lane alone, and what goes wrong with a pack ends none
that can train alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps.books.events import WarningEvent
from sweeps.serving.isolation import in_words
from sweeps.serving.lane_server import LaneServer
from sweeps.serving.pack_trainer import PackTrainer
from tests.sweeps.test_lane_server import UPDATES, Desk, alone, kinds, numbers
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError
from zoneout_core.records import EpochRecord, LaneEnd
from zoneout_core.tasks import load_data


class Faulty(PackTrainer):
    """Real lanes, of which one raises in the second update of its third epoch."""

    broken: int | None = 1
    error: type[Exception] = RuntimeError
    most: int = 99
    """Lanes that find room together."""

    def step(self) -> list[EpochRecord | LaneEnd]:
        trials = self._pack.trials
        if len(trials) > self.most:
            raise MemoryError
        if self.broken in trials and self._pack.state(self.broken).updates == 2 * UPDATES + 1:
            raise self.error("a lane is\nbroken")
        return super().step()

    def save(self, trial: int) -> None:
        if self.error is ArithmeticError:
            raise MemoryError
        super().save(trial)


def desk(folder: Path, lanes: int, **fault: Any) -> Desk:
    """A server whose packs have this fault."""
    faulty = type("Faulty", (Faulty,), fault)

    def build(config: TrialConfig, capacity: int) -> PackTrainer:
        return faulty(
            config, load_data(config.task, config.variant, Path()), capacity, "cpu", folder
        )

    made = Desk(folder, lanes)
    made.server = LaneServer(build, lanes=lanes)
    return made


def warnings(desk: Desk) -> list[str]:
    return [
        event.text
        for told in desk.told.values()
        for event in told
        if isinstance(event, WarningEvent)
    ]


def without_warnings(desk: Desk, trial: int) -> list[dict[str, Any]]:
    """From its first placement on, as if it had been the only one."""
    told = [event for event in numbers(desk.told[trial]) if event["event"] != "warning"]
    return [told[0], *(event for event in told if event["event"] != "placed")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_lane_that_raises_fails_alone_and_its_neighbours_keep_every_bit(
    folder: Path, lanes: int
) -> None:
    packed = desk(folder, lanes)
    packed.submit(0, 1, 2)
    packed.until(lambda: packed.ended(0, 1, 2))
    for trial in (0, 2):
        assert without_warnings(packed, trial) == alone(folder, trial)
    assert without_warnings(packed, 1)[:-1] == alone(folder, 1)[:3], "its two whole epochs stand"
    end = packed.told[1][-1]
    assert (end.state, end.reason) == ("failed", "RuntimeError: a lane is")
    assert warnings(packed) == (
        []
        if lanes == 1
        else [
            "Trials 0, 1, 2 could not go on with others (RuntimeError: a lane is): each trains an epoch alone, from its "
            "last checkpoint, and only one that cannot has failed."
        ]
    )


def test_lanes_that_have_no_room_together_train_fewer_at_a_time(folder: Path) -> None:
    packed = desk(folder, 4, broken=None, most=2)
    packed.submit(0, 1, 2)
    packed.until(lambda: packed.ended(0, 1, 2))
    for trial in (0, 1, 2):
        assert without_warnings(packed, trial) == alone(folder, trial)
    assert [text.partition(":")[0] for text in warnings(packed)] == [
        "Trials 0, 1, 2 could not go on with others (out of memory",
        "Memory suffices for each trial alone, but not for all",
    ]
    assert warnings(packed)[1].endswith("now at most 2 train")


def test_a_trial_too_large_even_alone_fails_in_words(folder: Path) -> None:
    packed = desk(folder, 2, error=MemoryError)
    packed.submit(0, 1)
    packed.until(lambda: packed.ended(0, 1))
    assert packed.told[1][-1].reason == "out of memory: MemoryError: a lane is"
    assert without_warnings(packed, 0) == alone(folder, 0)
    assert len(warnings(packed)) == 1, "the others may go on together as before"


def test_a_trial_that_is_given_up_meanwhile_holds_nobody_up(folder: Path) -> None:
    packed = desk(folder, 3)
    packed.submit(0, 1, 2)
    packed.until(lambda: bool(warnings(packed)))
    packed.server.release(0)
    packed.server.release(1)
    packed.until(lambda: packed.ended(2))
    assert without_warnings(packed, 2) == alone(folder, 2)


def test_a_checkpoint_there_is_no_memory_for_is_warned_of_and_training_goes_on(
    folder: Path,
) -> None:
    packed = desk(folder, 2, broken=None, error=ArithmeticError)
    packed.submit(0)
    packed.until(lambda: packed.ended(0))
    assert kinds(packed.told[0])[-1] == "end"
    assert without_warnings(packed, 0) == alone(folder, 0)
    assert set(warnings(packed)) == {
        "The checkpoint of trial 0 could not be written (out of memory: MemoryError)"
    }


def test_an_empty_pack_that_nobody_got_into_is_given_back(folder: Path) -> None:
    packed = desk(folder, 2)
    packed.submit(
        0, batch_size=3, sequence_length=300, train_fraction=1e-4
    )  # not one chunk to train on
    packed.until(lambda: packed.ended(0))
    assert packed.told[0][-1].state == "failed"
    assert packed.server._trainers == {}


REAL = """
import resource, sys
from pathlib import Path
from sweeps.books.events import EndEvent, RecordEvent, WarningEvent
from sweeps.serving.lane_server import ServerOptions, build_server
from tests.sweeps.driven import tiny

folder, lanes = Path(sys.argv[1]), 4
values = {"hidden_size": 4, "batch_size": 1000, "sequence_length": 100, "epochs": 1, "train_fraction": 0.02, "eval_fraction": 0.1}
base = tiny().base.with_values(values)

def train(name, trials):
    options = ServerOptions(lanes=lanes, device="cpu", threads=1, data=Path(), checkpoints=folder / name)
    server, told = build_server(options), {trial: [] for trial in trials}
    for trial in trials:
        server.submit(trial, base.with_values({"seed": trial}).to_json())
    while not all(events and isinstance(events[-1], EndEvent) for events in told.values()):
        server.advance()
        for trial in trials:
            told[trial] += server.next(trial)
    return told

def finals(told):
    return [event.final for events in told.values() for event in events if isinstance(event, RecordEvent)]

expected = finals(train("alone", [0]))
train("two", [0, 1])
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmPeak")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used, used))
told = train("four", range(lanes))
print([str(events[-1].state) for events in told.values()])
print([event.text for events in told.values() for event in events if isinstance(event, WarningEvent)])
print(finals({0: told[0]}) == expected)
"""


def test_a_real_limit_of_memory_that_four_lanes_hit_together_and_none_alone(tmp_path: Path) -> None:
    """The limit is what two lanes take."""
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    states, warned, equal = done.stdout.splitlines()
    assert states == str(["complete"] * 4)
    assert "Trials 0, 1, 2, 3 could not go on with others (out of memory: " in warned
    assert equal == "True"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ConfigError("batch_size must be at least 1."),
            "ConfigError: batch_size must be at least 1.",
        ),
        (MemoryError(), "out of memory: MemoryError"),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried 8 bytes.\nframe #0: c10::Error"
            ),
            "out of memory: RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried 8 bytes.",
        ),
        (
            OSError(12, "Cannot allocate memory"),
            "out of memory: OSError: [Errno 12] Cannot allocate memory",
        ),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_one_line_in_words(error: Exception, words: str) -> None:
    assert in_words(error) == words
