"""A study in a real Postgres that goes away and comes back: waited for, stoppable, and nothing is
there twice."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.books.patient_storage import PatientStorage
from sweeps.books.storage import StorageAway, check_storage
from tests.sweeps.driven import begin, call, curves, drive_inline, settings, tiny
from tests.sweeps.driving import sweep_resume, sweep_run
from tests.sweeps.stores import Postgres, free_port, own_postgres
from zoneout_core.errors import ConfigError

pytestmark = pytest.mark.needs_postgres
EPOCHS = 12
RECORDS = 6


@pytest.fixture
def database() -> Iterator[Postgres]:
    with own_postgres() as server:
        yield server


class Opened(NamedTuple):
    """A storage that waits, and a study in it."""

    storage: PatientStorage
    study: optuna.Study
    said: list[str]


@pytest.fixture
def opened(database: Postgres) -> Iterator[Opened]:
    storage, said = PatientStorage(database.url), list[str]()
    storage.be_patient(said.append, lambda: False)
    yield Opened(storage, optuna.create_study(study_name="s", storage=storage), said)
    storage.remove_session()
    storage.close()


def trials_of(database: Postgres, name: str) -> list[optuna.trial.FrozenTrial]:
    """What the database has of a study."""
    storage = optuna.storages.RDBStorage(database.url)
    try:
        return optuna.load_study(study_name=name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_every_step_is_repeated_once_the_database_is_back(
    database: Postgres, opened: Opened
) -> None:
    storage, study, said = opened
    study.enqueue_trial({"x": 0.25})
    steps = {
        "ask": lambda: study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}),
        "report": lambda: storage.set_trial_intermediate_value(study.trials[0]._trial_id, 1, 0.5),
        "attribute": lambda: (
            study.trials and storage.set_trial_user_attr(study.trials[0]._trial_id, "reason", "r")
        ),
        "tell": lambda: study.tell(0, 0.5),
        "new": study.ask,
        "enqueue": lambda: study.enqueue_trial({"x": 0.75}),
    }
    for name, step in steps.items():
        database.stop()
        back = threading.Timer(1.0, database.start)
        back.start()
        step()
        back.join()
        assert said[-1].startswith("Optuna's storage answers again"), name
    first, second, third = study.get_trials()
    assert (first.state, first.value, first.params, first.user_attrs) == (
        TrialState.COMPLETE, 0.5, {"x": 0.25}, {"reason": "r"},
    )  # fmt: skip
    assert first.intermediate_values == {1: 0.5}
    assert (second.state, third.state) == (TrialState.RUNNING, TrialState.WAITING)
    assert "does not answer" in said[0]
    assert (
        "The sweep waits for it, the journal keeps every record; Ctrl-C stops the sweep." in said[0]
    )


@pytest.mark.parametrize("step", ["new", "start", "finish"])
def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    database: Postgres, opened: Opened, step: str
) -> None:
    """The connection breaks between the commit and its answer: the step is there, and nobody was
    told."""
    storage, study, _ = opened
    study.enqueue_trial({})
    trial = storage.get_all_trials(study._study_id)[0]._trial_id
    if step == "finish":
        storage.set_trial_state_values(trial, TrialState.RUNNING)
    inner, lost = storage._inner, []

    def losing(name: str) -> None:
        whole = getattr(inner, name)

        def call_and_lose(*given: object, **named: object) -> object:
            told = whole(*given, **named)
            if not lost:
                lost.append(name)
                database.stop()
                database.start()
                inner._backend.engine.dispose()
                raise optuna.exceptions.StorageInternalError("commit") from _operational()
            return told

        setattr(inner, name, call_and_lose)

    losing("create_new_trial" if step == "new" else "set_trial_state_values")
    if step == "new":
        storage.create_new_trial(study._study_id)
    elif step == "start":
        assert storage.set_trial_state_values(trial, TrialState.RUNNING), "it is ours"
    else:
        assert storage.set_trial_state_values(trial, TrialState.COMPLETE, [1.5])
    assert lost
    expected = {"new": ["WAITING", "RUNNING"], "start": ["RUNNING"], "finish": ["COMPLETE"]}[step]
    assert [one.state.name for one in study.get_trials()] == expected


def _operational() -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))


def test_the_wait_can_be_stopped_and_an_error_that_is_no_outage_is_not_waited_for(
    database: Postgres, opened: Opened
) -> None:
    storage, study, said = opened
    with pytest.raises(KeyError):
        storage.get_trial(12345)
    database.stop()
    until = time.monotonic() + 1.0
    storage.be_patient(said.append, lambda: time.monotonic() > until)
    with pytest.raises(StorageAway, match="does not answer .*The journal has every record"):
        study.ask()
    assert time.monotonic() - until < 5


def test_a_storage_that_is_not_there_is_refused_before_a_run_is_begun(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://mlflow@127.0.0.1:{free_port()}/mlflow"
    with pytest.raises(
        ConfigError, match="storage must be an Optuna storage URL that can be opened"
    ):
        check_storage(url)
    done = call(
        "run",
        "demo",
        *settings(),
        "--set",
        f"storage={url}",
        "--inline",
        "--home",
        str(tmp_path / "home"),
    )
    assert (done.returncode, (tmp_path / "home").exists()) == (2, False)


def test_a_sweep_goes_on_after_a_restart_as_if_there_had_been_none(
    tmp_path: Path, database: Postgres
) -> None:
    home = tmp_path / "home"
    driver = sweep_run(
        home, "--inline", "--tracking", "none", epochs=EPOCHS, lanes=3, storage=database.url
    )
    driver.until_records(RECORDS)
    database.stop()
    time.sleep(3)
    database.start()
    said = driver.wait()
    assert "Optuna's storage answers again" in said
    sweep = tiny(epochs=EPOCHS)
    undisturbed = begin(tmp_path / "other", sweep)
    drive_inline(undisturbed, sweep)
    assert curves(driver.run) == curves(undisturbed)
    trials = trials_of(database, driver.run.name)
    assert [trial.number for trial in trials] == list(range(9))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert all(sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1)) for trial in trials)


def test_while_it_waits_ctrl_c_stops_it_and_a_resume_goes_on(
    tmp_path: Path, database: Postgres
) -> None:
    home = tmp_path / "home"
    driver = sweep_run(
        home, "--inline", "--tracking", "none", epochs=EPOCHS, lanes=3, storage=database.url
    )
    driver.until_records(RECORDS)
    database.stop()
    until = time.monotonic() + 60
    while "The sweep waits for it" not in driver.output.read_text() and time.monotonic() < until:
        time.sleep(0.1)
    driver.interrupt()
    said = driver.wait(130)
    assert f"Go on with: {driver.run.command('resume')}" in said
    assert driver.run.story().state == "interrupted"
    database.start()
    assert "finished" in sweep_resume(home, "--inline", "--tracking", "none").wait()
    trials = trials_of(database, driver.run.name)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 9
