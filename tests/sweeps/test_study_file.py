"""The file of a study: Optuna's format, one writer, and damage that is named."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeps.books.study_file import StudyFile
from zoneout_core.errors import HomeError

SPACE = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


def study(file: Path) -> optuna.Study:
    storage = JournalStorage(StudyFile(file))
    return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)


def read_by_optuna(file: Path) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(file))))


def numbers(of: optuna.Study) -> list[int]:
    return [trial.number for trial in of.get_trials(deepcopy=False)]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may become longer than `size` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_optunas_own_storage_reads_it(file: Path) -> None:
    ours = study(file)
    ours.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    theirs = read_by_optuna(file)
    assert [trial.params for trial in theirs.trials] == [trial.params for trial in ours.trials]
    assert theirs.best_value == ours.best_value


def test_lines_that_another_program_appends_are_read(file: Path) -> None:
    ours = study(file)
    read_by_optuna(file).set_user_attr("note", 'of a dashboard, with "crc32" in it')
    ours.enqueue_trial({"x": 0.5})
    assert ours.user_attrs == read_by_optuna(file).user_attrs != {}
    assert numbers(ours) == numbers(read_by_optuna(file)) == [0]


def test_a_storage_made_later_reads_from_the_start(file: Path) -> None:
    backend = StudyFile(file)
    first = optuna.create_study(study_name="s", storage=JournalStorage(backend))
    first.enqueue_trial({"x": 0.5})
    second = optuna.load_study(study_name="s", storage=JournalStorage(backend))
    assert numbers(first) == numbers(second) == [0]
    first.enqueue_trial({"x": 0.6})
    assert numbers(second) == numbers(first) == [0, 1]


def test_a_line_that_a_killed_writer_left_torn_is_cut_off(file: Path) -> None:
    study(file).enqueue_trial({"x": 0.5})
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:7])
    assert len(list(StudyFile(file).read_logs(0))) == 2
    assert file.read_bytes() == whole


def test_a_damaged_line_is_named(file: Path) -> None:
    study(file).enqueue_trial({"x": 0.5})
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.7"))
    with pytest.raises(ValueError, match=r"^line 2 adds up to [0-9a-f]{8}, but ends with"):
        list(StudyFile(file).read_logs(0))


def test_a_deleted_file_is_named_and_nothing_is_lost_in_it(file: Path) -> None:
    ours = study(file)
    file.unlink()
    with pytest.raises(HomeError, match=r"must take every event, .* the file was deleted"):
        ours.enqueue_trial({"x": 0.5})


def test_a_full_disk_leaves_whole_lines_and_goes_on_later(file: Path) -> None:
    backend = StudyFile(file)
    backend.append_logs([{"number": 1}])
    before = file.read_bytes()
    with disk_of(len(before) + 10), pytest.raises(HomeError, match="must take every event"):
        backend.append_logs([{"number": 2}])
    assert file.read_bytes() == before
    backend.append_logs([{"number": 3}])
    assert list(backend.read_logs(0)) == [{"number": 1}, {"number": 3}]
    assert [json.loads(line)["number"] for line in file.read_bytes().splitlines()] == [1, 3]
