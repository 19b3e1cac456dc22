"""The search: an Optuna study on durable storage whose states are true, driven by ask, report and
tell.

Optuna's WAITING trials are the work queue. A grid is enqueued whole, so that it is exact, also when
conditional, and its trial numbers are its indices; an interrupted trial is put back and asked again
under its number, with its values. A sampler is built anew for each trial from (sampler seed, trial
number): nothing of it has to be saved, and a resumed sweep draws what the uninterrupted one would
have drawn.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

import search_spaces
from sweeps.books.compat import FIXED_PARAMS, RUNG_PREFIX
from sweeps.books.diverged import with_diverged_as_bad
from sweeps.books.sampling import build_pruner, build_sampler
from sweeps.books.storage import open_storage, without
from sweeps.books.story import TrialStory
from sweeps.definition import Sweep
from zoneout_core.config.trial import TrialConfig, plain
from zoneout_core.records import EpochRecord, TrialState

_STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A trial to run."""

    trial: int
    """Optuna's number, the trial's name everywhere."""
    params: search_spaces.Overrides
    """Plain data, as the journal holds it."""
    config: TrialConfig


class Study:
    """The trials of one run. One driver at a time uses it (it holds the run's lock)."""

    def __init__(self, name: str, sweep: Sweep, journal: Path) -> None:
        """Open the study `name`, or create it. Raises `ConfigError` when the storage cannot be
        opened."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep = sweep
        self._objective = sweep.metrics.objective
        self._pruner = build_pruner(sweep)
        self._storage = open_storage(sweep.storage, journal)
        self._study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            direction="minimize",
            pruner=self._pruner,
            load_if_exists=True,
        )
        self._study_id = self._storage.get_study_id_from_name(name)
        self._sampled = with_diverged_as_bad(self._study, self._storage, sweep.sampler)
        self._running: dict[int, optuna.Trial] = {}
        self._again: list[FrozenTrial] = []  # finished here, but the run's journal lost how
        self._enqueue_grid()

    def be_patient(self, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
        """From now on wait while the storage is away, until `stop()` is true; it raises
        `StorageAway` then."""
        be_patient = getattr(self._storage, "be_patient", None)
        if be_patient is not None:
            be_patient(say, stop)

    def ask(self) -> Assignment | None:
        """The next trial to run: a waiting one, else a new one; None when the sweep has no more."""
        if self._again:
            frozen = self._again.pop(0)
            params = self.params(frozen)
            return self._assignment(frozen.number, params)
        states = [frozen.state for frozen in self.trials()]
        number = len(states)
        if OptunaState.WAITING in states:
            number = states.index(OptunaState.WAITING)
        if number >= self._sweep.max_trials:
            return None
        sound = states.count(OptunaState.COMPLETE) + states.count(OptunaState.PRUNED)
        self._sampled.sampler = build_sampler(self._sweep, number, sound)
        trial = self._sampled.ask()
        assert trial.number == number, "one driver asks at a time"
        params = self._sweep.search_space.suggest(trial)
        if self._sampled is not self._study:
            trial = self._live(number)  # pruners see the study as it is
        self._running[number] = trial
        return self._assignment(number, params)

    def _assignment(self, number: int, params: search_spaces.Overrides) -> Assignment:
        return Assignment(number, plain(params), self._sweep.trial_config(params))

    def report(self, record: EpochRecord) -> bool:
        """Tell the study of an epoch of a running trial. True: the scheduler would stop the trial
        now.

        An epoch that the study knows, because the driver was killed before it had noted it, is
        decided as it was.
        """
        frozen = self._frozen(record.trial)
        if frozen.state.is_finished():
            return _true_state(frozen) is TrialState.PRUNED and record.epoch >= (
                frozen.last_step or 0
            )
        if record.epoch in frozen.intermediate_values:
            others = optuna.Study(self._study.study_name, without(self._storage, record.trial))
            return self._pruner.prune(others, _as_of(frozen, record.epoch))
        trial = self._running[record.trial]
        trial.report(record.metrics[self._objective], record.epoch)
        return trial.should_prune()

    def tell(self, number: int, state: TrialState, reason: str, value: float | None = None) -> None:
        """Finish a trial in its true state; `value` is the objective of a complete one.

        A diverged trial is FAIL, without a value. What a sampler sees of it: `books.diverged`.
        """
        frozen = self._frozen(number)
        if frozen.state == OptunaState.WAITING:  # Optuna wants it begun before it ends
            self._storage.set_trial_state_values(self._id(number), OptunaState.RUNNING)
        if not frozen.state.is_finished():
            self._storage.set_trial_user_attr(self._id(number), "reason", reason)
            self._storage.set_trial_user_attr(self._id(number), "state", str(state))
            self._study.tell(
                number, value if state is TrialState.COMPLETE else None, state=_STATES[state]
            )
        self._running.pop(number, None)

    def requeue(self, number: int) -> None:
        """Put a trial that was interrupted back into the queue."""
        frozen = self._frozen(number)
        if frozen.state == OptunaState.RUNNING:
            self._storage.set_trial_state_values(self._id(number), OptunaState.WAITING)
        self._running.pop(number, None)

    def mend(self, told: dict[int, TrialStory]) -> None:
        """Bring the study up to what the journal says: it is written first, so it may be ahead
        after a crash. A study that has nothing, because its storage is new or was lost, is rebuilt:
        what is drawn next stays the same.

        After a power cut the study may be ahead instead: a trial that only it knows the end of is
        run again, from its checkpoint. Afterwards no trial is RUNNING.
        """
        self._study.sampler = optuna.samplers.RandomSampler()  # nothing is drawn here
        space = self._sweep.search_space
        for number in range(len(self.trials()), max(told, default=-1) + 1):
            if number in told:
                point = search_spaces.params(space, told[number].params)
            else:
                point = {}
            self._study.enqueue_trial(point)
        for frozen in self.trials():
            story = told.get(frozen.number)
            if frozen.state.is_finished():
                if story is None or not story.state.finished:
                    self._again.append(frozen)
                continue
            if story is not None:
                self._catch_up(frozen, story)
                if story.state.finished:
                    self.tell(frozen.number, story.state, story.reason, story.best_value)
                    continue
            self.requeue(frozen.number)

    def _catch_up(self, frozen: FrozenTrial, story: TrialStory) -> None:
        """Tell the study of a trial's values and epochs that only the journal knows."""
        space = self._sweep.search_space
        trial_id = self._id(frozen.number)
        if not frozen.params and story.params:
            point = search_spaces.params(space, story.params)
            self._storage.set_trial_system_attr(trial_id, FIXED_PARAMS, point)
            if frozen.state == OptunaState.WAITING:
                self._storage.set_trial_state_values(trial_id, OptunaState.RUNNING)
            space.suggest(self._live(frozen.number))
        trial = self._live(frozen.number)
        known = set(frozen.intermediate_values)
        for record in story.records.values():
            if record.epoch not in known:
                trial.report(story.value(record), record.epoch)
                trial.should_prune()  # notes its rung; the journal has what was decided

    def contradiction(self, told: dict[int, TrialStory]) -> str:
        """Where the study says something else than the journal, in words; empty when it nowhere
        does.

        What only one of them knows is no contradiction: see `mend`.
        """
        for frozen in self.trials():
            story = told.get(frozen.number)
            if story is None:
                continue
            if frozen.params and (params := self.params(frozen)) != story.params:
                return f"trial {frozen.number} has {params}, and {story.params} in the journal"
            for epoch, record in story.records.items():
                value = frozen.intermediate_values.get(epoch)
                if value is not None and value != (other := story.value(record)):
                    return (
                        f"epoch {epoch} of trial {frozen.number} has {value!r}, and {other!r} in"
                        " the journal"
                    )
            if frozen.state.is_finished() and story.state.finished:
                if _true_state(frozen) is not story.state:
                    return (
                        f"trial {frozen.number} is {_true_state(frozen)}, and {story.state} in the"
                        " journal"
                    )
                if story.state is TrialState.COMPLETE and frozen.value != story.best_value:
                    return (
                        f"trial {frozen.number} has {frozen.value!r}, and {story.best_value!r} in"
                        " the journal"
                    )
        return ""

    def trials(self) -> list[FrozenTrial]:
        """Optuna's trials, by number."""
        return self._study.get_trials(deepcopy=False)

    def params(self, frozen: FrozenTrial) -> search_spaces.Overrides:
        """What a trial was given, by dotted key. Raises the standard `ValueError` when it is no
        point of the space."""
        return self._sweep.search_space.suggest(optuna.trial.FixedTrial(frozen.params))

    def states(self) -> dict[int, OptunaState]:
        """Optuna's state of every trial by number."""
        return {frozen.number: frozen.state for frozen in self.trials()}

    def _id(self, number: int) -> int:
        """The name of a trial in the storage, which is Optuna's own."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _live(self, number: int) -> optuna.Trial:
        """A trial that can be reported to."""
        return optuna.Trial(self._study, self._id(number))

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._id(number))

    def _enqueue_grid(self) -> None:
        """Enqueue the grid's missing points; a crash in between is mended by the next opening."""
        if self._sweep.sampler != "grid":
            return
        space = self._sweep.search_space
        have = len(self._study.get_trials(deepcopy=False))
        for point in space.grid()[have : self._sweep.max_trials]:
            self._study.enqueue_trial(search_spaces.params(space, point))


def _true_state(trial: FrozenTrial) -> TrialState | None:
    """How a trial ended, as people see it; None while it has not."""
    state = trial.user_attrs.get("state")
    if state is None or not trial.state.is_finished():
        return None
    return TrialState(state)


def _as_of(trial: FrozenTrial, epoch: int) -> FrozenTrial:
    """The trial as it was when `epoch` had just been reported: later epochs are gone, and the rungs
    it reached since.

    Optuna keeps a rung under the value with which it was reached.
    """
    view = copy.copy(trial)
    view.intermediate_values = {
        e: value for e, value in trial.intermediate_values.items() if e <= epoch
    }
    before = {value for e, value in view.intermediate_values.items() if e < epoch}
    view.system_attrs = {
        key: value
        for key, value in trial.system_attrs.items()
        if not key.startswith(RUNG_PREFIX) or value in before
    }
    return view
