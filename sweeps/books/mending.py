"""Mending damaged books of a run: what one of them lost is written again from the others.

| damaged or lost | written again from |
|---|---|
| a trial's line | the definition (a grid), the study, the configuration in its checkpoint |
| an epoch's line | its checkpoint, else it is trained again from the one before: the same bits |
| an end's line | the study, else the trial's lane reports it again |
| who drove, where, warnings, artifacts | nothing: no number depends on them |
| the whole journal | study and checkpoints, while the trials are run again |
| the study | the journal, by `Study.mend` |

Only the driver of a run mends, before it does anything else. It keeps the damaged file as
`NAME.damaged`.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from optuna.trial import FrozenTrial

import search_spaces
from search_spaces import Overrides
from sweeps.books import checksums, events, journal
from sweeps.books.events import (
    EndEvent,
    Event,
    PlacedEvent,
    RecordEvent,
    TrialEvent,
    WarningEvent,
)
from sweeps.books.journal import Damage
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import TrialStory
from sweeps.books.study import Study
from sweeps.definition import Sweep
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError, RunError, ZoneoutError
from zoneout_core.records import TrialState

_OfTrial = TrialEvent | PlacedEvent | RecordEvent | EndEvent


def mend_journal(run: RunFolder, sweep: Sweep) -> list[str]:
    """Mend the journal of a run if it is damaged. Returns sentences on what was done, which the
    journal then has as warnings.

    The caller holds the run's lock. Raises `RunError` for a journal of another format, and
    `HomeError` when the disk refuses.
    """
    sound, damages = journal.inspect(run.journal)
    if not damages:
        return []
    books = _Books(run, sweep)
    trials = _sorted_out(sound, books)
    kept = checksums.beside(run.journal)
    sentences = [_damage(run, damage, kept.name) for damage in damages]
    for trial in trials:
        sentences += trial.sentences()
    mended = list(_in_order(sound, {trial.number: trial for trial in trials}))
    now = max((event.time for event in mended), default=run.journal.stat().st_mtime)
    mended += [WarningEvent(time=now, text=text) for text in sentences]
    try:
        shutil.copy2(run.journal, kept)
        journal.rewrite(run.journal, mended)
    except OSError as error:
        raise run.unusable(error) from error
    return sentences


def open_study(
    run: RunFolder, sweep: Sweep, trials: dict[int, TrialStory]
) -> tuple[Study, list[str]]:
    """The study of a run, brought up to what its journal says about `trials`, and sentences on what
    was mended.

    A study file that is damaged, or contradicts the journal, is set aside and written again. Raises
    `RunError` when a storage that is not ours to delete contradicts the journal.
    """
    try:
        study = Study(run.name, sweep, run.study)
        fault = study.contradiction(trials)
    except ZoneoutError:
        raise
    except Exception as error:  # whatever Optuna raises on a damaged line
        if sweep.storage:
            raise
        fault = f"{type(error).__name__}: {error}"
    if fault and sweep.storage:
        raise RunError(
            f"The Optuna storage of a run says what its journal says, but of study {run.name}"
            f" {fault}. Restore the storage, or have the study written again in a file of the run:"
            f" {run.command('resume')} --set storage="
        )
    sentences = []
    if fault:
        kept = checksums.beside(run.study)
        run.study.rename(kept)
        sentences = [
            f"The study {run.study} was damaged ({fault}). It is kept as {kept.name}, and written"
            " anew."
        ]
        study = Study(run.name, sweep, run.study)
    study.mend(trials)
    return study, sentences


class _Books:
    """What a run's definition, study and checkpoints know about its trials."""

    def __init__(self, run: RunFolder, sweep: Sweep) -> None:
        self.run, self.sweep = run, sweep

    @cached_property
    def _study(self) -> tuple[Study | None, Sequence[FrozenTrial]]:
        try:
            study = Study(self.run.name, self.sweep, self.run.study)
            return study, study.trials()
        except Exception:  # damaged as well, or out of reach
            return None, ()

    def frozen(self, trial: int) -> FrozenTrial | None:
        """A trial as the study has it."""
        _, trials = self._study
        if trial < len(trials):
            return trials[trial]
        return None

    def assigned(self, trial: int) -> tuple[Overrides, TrialConfig] | None:
        """The values and the configuration of a trial; None when they are lost."""
        try:
            params = self._params(trial)
            if params is None:
                return None
            return (params, self.sweep.trial_config(params))
        except ValueError:  # not a point of the space
            return None

    def _params(self, trial: int) -> Overrides | None:
        space = self.sweep.search_space
        if self.sweep.sampler == "grid":
            points = space.grid()
            if trial < len(points):
                return points[trial]
            return None
        study, frozen = self._study[0], self.frozen(trial)
        if study is not None and frozen is not None and frozen.params:
            return study.params(frozen)
        config, _ = self.checkpoint(trial)
        if config is None:
            return None
        params = search_spaces.point_of(space, config)
        if params is None or self.sweep.trial_config(params) != config:
            return None
        return params

    def checkpoint(self, trial: int) -> tuple[TrialConfig | None, dict[int, RecordEvent]]:
        """The configuration and the records, by epoch, in a trial's checkpoint."""
        from zoneout_core.training import checkpoint  # torch, which a driver under Ray never loads

        try:
            state = checkpoint.load(self.run.checkpoint(trial))
        except CheckpointError:
            state = None
        if state is None:
            return None, {}
        return state.config, {record.epoch: RecordEvent.of(record) for record in state.records}


@dataclass
class _Mended:
    """The events of one trial, in order, up to the first gap."""

    number: int
    asked: TrialEvent | None
    """None: its values are lost, and so is what it reported."""
    records: dict[int, RecordEvent] = field(default_factory=dict)
    end: EndEvent | None = None
    rebuilt: list[str] = field(default_factory=list)
    """What was written again, in words."""
    again_from: int = 0
    """The epoch from which it is trained again; 0 = no epoch is missing."""

    def sentences(self) -> list[str]:
        """What a person should know about it."""
        sentences = []
        if self.rebuilt:
            sentences.append(
                f"Of trial {self.number} was written again from what else is known:"
                f" {', '.join(self.rebuilt)}."
            )
        if self.asked is None:
            sentences.append(
                f"What trial {self.number} was given is lost: it is drawn and trained anew."
            )
        elif self.again_from:
            sentences.append(
                f"Trial {self.number} is trained again from epoch {self.again_from}, to the same"
                " numbers."
            )
        return sentences


def _sorted_out(sound: list[Event], books: _Books) -> list[_Mended]:
    """Every trial that has events, mended."""
    by_trial: dict[int, list[_OfTrial]] = {}
    for event in sound:
        if isinstance(event, _OfTrial):
            by_trial.setdefault(event.trial, []).append(event)
    return [_mended(number, by_trial[number], books) for number in sorted(by_trial)]


def _mended(number: int, sound: list[_OfTrial], books: _Books) -> _Mended:
    asked: TrialEvent | None = None
    records: dict[int, RecordEvent] = {}
    end: EndEvent | None = None
    for event in sound:  # the first event of a kind counts
        match event:
            case TrialEvent():
                asked = asked or event
            case RecordEvent():
                records.setdefault(event.epoch, event)
            case EndEvent():
                end = end or event
    mended = _Mended(number, asked or _asked(number, books))
    if mended.asked is None:
        return mended
    if asked is None:
        mended.rebuilt.append("what it was given")
    known_end = end or _end(books.frozen(number))
    if not _fill(mended, records, known_end, books):
        return mended
    mended.end = known_end
    if known_end is not None and end is None:
        mended.rebuilt.append("how it ended")
    return mended


def _fill(
    mended: _Mended, records: dict[int, RecordEvent], end: EndEvent | None, books: _Books
) -> bool:
    """Give the trial every record up to the last known epoch, from its checkpoint where the journal
    lost one. False if a record is lost: the trial is trained again from that epoch."""
    last = max(records, default=0)
    if end is not None:
        last = max(last, end.epoch)
    stored: dict[int, RecordEvent] = {}
    if len(records) < last:
        _, stored = books.checkpoint(mended.number)
    for epoch in range(1, last + 1):
        record = records.get(epoch) or stored.get(epoch)
        if record is None:
            mended.again_from = epoch
            return False
        if epoch not in records:
            mended.rebuilt.append(f"epoch {epoch}")
        mended.records[epoch] = record
    return True


def _asked(number: int, books: _Books) -> TrialEvent | None:
    known = books.assigned(number)
    if known is None:
        return None
    params, config = known
    return TrialEvent.of(number, params, config, books.sweep.metrics)


def _end(frozen: FrozenTrial | None) -> EndEvent | None:
    """How a trial ended, as the study has it."""
    if frozen is None or not frozen.state.is_finished():
        return None
    state = frozen.user_attrs.get("state")
    reason = frozen.user_attrs.get("reason")
    if state is None or reason is None:
        return None
    epoch = max(frozen.intermediate_values, default=0)
    return EndEvent(trial=frozen.number, state=TrialState(state), reason=reason, epoch=epoch)


def _in_order(sound: list[Event], trials: dict[int, _Mended]) -> Iterator[Event]:
    """The sound events, and before each of them what its trial had reported by then. Ends that were
    lost come last."""
    asked: set[int] = set()
    ended: set[int] = set()
    epochs = dict.fromkeys(trials, 0)

    def records(trial: _Mended, last: int, time: float) -> Iterator[Event]:
        """Records up to epoch `last` that have not been written yet."""
        for epoch in range(epochs[trial.number] + 1, min(last, len(trial.records)) + 1):
            epochs[trial.number] = epoch
            yield _at(time, trial.records[epoch])

    for event in sound:
        if not isinstance(event, _OfTrial):
            yield event
            continue
        trial = trials[event.trial]
        if trial.asked is None or trial.number in ended:
            continue
        if trial.number not in asked:
            asked.add(trial.number)
            yield _at(event.time, trial.asked)
        match event:
            case PlacedEvent():
                yield event
            case RecordEvent():
                yield from records(trial, event.epoch, event.time)
            case EndEvent():
                yield from records(trial, len(trial.records), event.time)
                if trial.end is not None:
                    ended.add(trial.number)
                    yield event
    latest = 0.0
    if sound:
        latest = sound[-1].time
    for trial in trials.values():
        if trial.end is not None and trial.number not in ended:
            yield from records(trial, len(trial.records), latest)
            yield _at(latest, trial.end)


def _at(time: float, event: Event) -> Event:
    """The event, with `time` if it has none."""
    if event.time:
        return event
    return events.stamped(event, time)


def _damage(run: RunFolder, damage: Damage, kept: str) -> str:
    return (
        f"Line {damage.line} of {run.journal} {damage.what}. It was mended; as it was, it is kept"
        f" as {kept}."
    )
