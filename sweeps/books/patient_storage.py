"""An Optuna storage that waits while its database is away, as a run's delivery waits for MLflow.

A connection may be lost after a commit has reached the database, but before the answer comes back.
So the effect of a step is looked for before the step is repeated. That is sound because only one
driver at a time writes to a study.
"""

import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sweeps.books.compat_database import OneTryStorage, cached
from sweeps.books.storage import StorageAway

if TYPE_CHECKING:
    from sweeps.books.compat_database import FrozenStudy

LONGEST_PAUSE_SECONDS = 30.0
ATTEMPTS = 5
"""How often a step is tried on a database that answers. A failure that persists is no outage."""
_LOOK_SECONDS = 0.1
_Result = TypeVar("_Result")


class PatientStorage(BaseStorage):
    """Optuna's storage at a database URL. It waits out an outage, while `stop()` is false, and
    reports it to `say`."""

    def __init__(self, url: str) -> None:
        """Open the storage. Raises whatever the database's driver raises."""
        self._database = OneTryStorage(url, engine_kwargs={"pool_pre_ping": True})
        self._inner = cached(self._database)
        self.shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
        """The URL without its password."""
        self.say: Callable[[str], None] = lambda text: None
        self.stop: Callable[[], bool] = lambda: True  # until `be_patient`

    def be_patient(self, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
        """From now on wait for the database, until `stop()` is true."""
        self.say, self.stop = say, stop

    def close(self) -> None:
        """Close all connections."""
        self._database.engine.dispose()

    def _persist(
        self, step: Callable[[], _Result], done: Callable[[], _Result | None] = lambda: None
    ) -> _Result:
        """The result of `step`, repeated if the database goes away. `done` returns the result of an
        earlier try that reached the database, or None."""
        attempt = 0
        while True:
            try:
                if attempt:
                    result = done()
                    if result is not None:
                        return result
                return step()
            except Exception as error:
                attempt += 1
                if not self._is_outage(error) or attempt > ATTEMPTS:
                    raise
                if self._wait_for_answer(error):
                    attempt = 1

    def _is_outage(self, error: BaseException | None) -> bool:
        """Whether the database was away. Optuna hides that behind an error about invalid data."""
        while error is not None:
            if isinstance(error, DBAPIError) and self._database.engine.dialect.name == "sqlite":
                return "database is locked" in str(error)
            if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
                return True
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                return True
            error = error.__cause__ or error.__context__
        return False

    def _wait_for_answer(self, error: BaseException) -> bool:
        """Wait until the database answers. Returns whether it was away. Raises `StorageAway` once
        `stop()` is true."""
        start = time.monotonic()
        pause = 0.25
        outage = ""
        while (problem := self._problem()) is not None:
            if not outage:
                outage = f"Optuna's storage at {self.shown} does not answer ({problem})"
                if not self.stop():
                    self.say(
                        f"{outage}. The sweep waits for it, the journal keeps every record; Ctrl-C"
                        " stops the sweep."
                    )
            end = time.monotonic() + pause
            while time.monotonic() < end:
                if self.stop():
                    raise StorageAway(
                        f"{outage}. The journal has every record, and the study is mended from it."
                    ) from error
                time.sleep(_LOOK_SECONDS)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if outage:
            self.say(
                f"Optuna's storage answers again, after {time.monotonic() - start:.0f} seconds."
            )
        return bool(outage)

    def _problem(self) -> str | None:
        """Why the database does not answer now, in one line; None when it does."""
        try:
            with self._database.engine.connect() as connection:
                connection.execute(sqlalchemy.text("SELECT 1"))
        except Exception as error:  # each driver has errors of its own
            lines = str(getattr(error, "orig", error)).strip().splitlines()
            if lines:
                return lines[0]
            return type(error).__name__
        return None

    # The methods of a storage, as Optuna calls them.

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return self._persist(lambda: self._inner.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        self._persist(lambda: self._inner.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: object) -> None:
        self._persist(lambda: self._inner.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._persist(lambda: self._inner.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._persist(lambda: self._inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._persist(lambda: self._inner.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._persist(lambda: self._inner.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, object]:
        return self._persist(lambda: self._inner.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, object]:
        return self._persist(lambda: self._inner.get_study_system_attrs(study_id))

    def get_all_studies(self) -> "list[FrozenStudy]":
        return self._persist(self._inner.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number = len(self.get_all_trials(study_id, deepcopy=False))

        def done() -> int | None:
            trials = self._inner.get_all_trials(study_id, deepcopy=False)
            if number < len(trials):
                return self._inner.get_trial_id_from_study_id_trial_number(study_id, number)
            return None

        return self._persist(lambda: self._inner.create_new_trial(study_id, template_trial), done)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._persist(
            lambda: self._inner.set_trial_param(
                trial_id, param_name, param_value_internal, distribution
            )
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        def done() -> bool | None:
            trial = self._inner.get_trial(trial_id)
            expected = None if values is None else list(values)
            if trial.state == state and trial.values == expected:
                return True
            return None

        return self._persist(
            lambda: self._inner.set_trial_state_values(trial_id, state, values), done
        )

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._persist(
            lambda: self._inner.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: object) -> None:
        self._persist(lambda: self._inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._persist(lambda: self._inner.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._persist(lambda: self._inner.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._persist(lambda: self._inner.get_all_trials(study_id, deepcopy, states))

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._persist(
            lambda: self._inner.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        )

    def remove_session(self) -> None:
        self._database.remove_session()
