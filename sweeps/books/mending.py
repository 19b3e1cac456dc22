"""Mending the books of a run that were damaged: what one of them lost is written again from the
others.

| damaged or lost | written again from |
|---|---|
| a trial's line | the definition (a grid), the study, the configuration in its checkpoint |
| an epoch's line | its checkpoint, else it is trained again from the one before: the same bits |
| an end's line | the study, else the trial's lane tells it again |
| who drove, where, warnings, artifacts | nothing: no number depends on them |
| the whole journal | study and checkpoints, as the trials are run again |
| the study | the journal |

Only the driver of a run mends, before it does anything else. What was damaged is kept beside, as
`NAME.damaged`.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from optuna.trial import FrozenTrial

import search_spaces
from search_spaces import Overrides
from sweeps.books import journal, sealed
from sweeps.books.journal import Damage, Event, as_event
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import TrialStory
from sweeps.books.study import Study
from sweeps.definition import Sweep
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import CheckpointError, RunError, ZoneoutError
from zoneout_core.records import TrialState

_OF_TRIALS = ("trial", "placed", "record", "end")


def mend_journal(run: RunFolder, sweep: Sweep) -> list[str]:
    """Mend the journal of a run, if it is damaged, and return what was done, in sentences; they are
    in it as warnings.

    The caller holds the run's lock. Raises `RunError` for a journal of another format, `HomeError`
    when the disk refuses.
    """
    events, damages = journal.inspect(run.journal)
    if not damages:
        return []
    books = _Books(run, sweep)
    stories = _sorted_out(events, books)
    kept = sealed.beside(run.journal)
    said = [_damage(run, damage, kept.name) for damage in damages] + [
        text for one in stories for text in one.said()
    ]
    mended = list(_in_order(events, {one.trial: one for one in stories}))
    now = max((event["time"] for event in mended), default=run.journal.stat().st_mtime)
    mended += [{"event": "warning", "time": now, "text": text} for text in said]
    try:
        shutil.copy2(run.journal, kept)
        journal.rewrite(run.journal, mended)
    except OSError as error:
        raise run.unusable(error) from error
    return said


def open_study(
    run: RunFolder, sweep: Sweep, told: dict[int, TrialStory]
) -> tuple[Study, list[str]]:
    """The study of a run, brought up to what its journal tells, and what had to be done for it, in
    sentences.

    A study file that is damaged, or says something else than the journal, is set aside and written
    again. Raises `RunError` when a storage that is not ours to delete says something else.
    """
    try:
        study = Study(run.name, sweep, run.study)
        wrong = study.contradiction(told)
    except ZoneoutError:
        raise
    except Exception as error:  # whatever Optuna makes of a line that is not as it was written
        if sweep.storage:
            raise
        wrong = f"{type(error).__name__}: {error}"
    if wrong and sweep.storage:
        raise RunError(
            f"The Optuna storage of a run says what its journal says, but of study {run.name}"
            f" {wrong}. Restore the storage, or have the study written again in a file of the run:"
            f" {run.command('resume')} --set storage="
        )
    said = []
    if wrong:
        kept = sealed.beside(run.study)
        run.study.rename(kept)
        said = [
            f"The study {run.study} was damaged ({wrong}). It is kept as {kept.name}, and written"
            " anew."
        ]
        study = Study(run.name, sweep, run.study)
    study.mend(told)
    return study, said


class _Books:
    """What is known of a run's trials besides its journal."""

    def __init__(self, run: RunFolder, sweep: Sweep) -> None:
        self.run, self.sweep = run, sweep

    @cached_property
    def _study(self) -> tuple[Study | None, Sequence[FrozenTrial]]:
        try:
            study = Study(self.run.name, self.sweep, self.run.study)
            return study, study.trials()
        except Exception:  # damaged as well, or out of reach: then it knows nothing
            return None, ()

    def frozen(self, trial: int) -> FrozenTrial | None:
        """What the study has of a trial."""
        _, trials = self._study
        if trial < len(trials):
            return trials[trial]
        return None

    def assigned(self, trial: int) -> tuple[Overrides, TrialConfig] | None:
        """What a trial was given; None when nobody knows."""
        try:
            params = self._params(trial)
            if params is None:
                return None
            return (params, self.sweep.trial_config(params))
        except ValueError:  # no point of the space
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

    def checkpoint(self, trial: int) -> tuple[TrialConfig | None, dict[int, Event]]:
        """The configuration and the records, by epoch, in a trial's checkpoint."""
        from zoneout_core.training import checkpoint  # torch, which a driver under Ray does without

        try:
            state = checkpoint.load(self.run.checkpoint(trial))
        except CheckpointError:
            state = None
        if state is None:
            return None, {}
        return state.config, {record.epoch: as_event(record) for record in state.records}


@dataclass
class _Mended:
    """One trial's events, in their order, as far as they are known without a gap."""

    trial: int
    asked: Event | None
    """None: nobody knows what it was given, so what it told is lost."""
    records: dict[int, Event] = field(default_factory=dict)
    end: Event | None = None
    rebuilt: list[str] = field(default_factory=list)
    """What was written again."""
    again_from: int = 0
    """The epoch from which it is trained again; 0 = none is lacking."""

    def said(self) -> list[str]:
        """What a person should know."""
        said = []
        if self.rebuilt:
            said.append(
                f"Of trial {self.trial} was written again from what else is known:"
                f" {', '.join(self.rebuilt)}."
            )
        if self.asked is None:
            said.append(f"What trial {self.trial} was given is lost: it is drawn and trained anew.")
        elif self.again_from:
            said.append(
                f"Trial {self.trial} is trained again from epoch {self.again_from}, to the same"
                " numbers."
            )
        return said


def _sorted_out(events: list[Event], books: _Books) -> list[_Mended]:
    """Every trial of which there are events, mended."""
    told: dict[int, list[Event]] = {}
    for event in events:
        if event["event"] in _OF_TRIALS:
            told.setdefault(event["trial"], []).append(event)
    return [_mended(trial, told[trial], books) for trial in sorted(told)]


def _mended(trial: int, told: list[Event], books: _Books) -> _Mended:
    asked = next((event for event in told if event["event"] == "trial"), None)
    one = _Mended(trial, asked or _asked(trial, books))
    if one.asked is None:
        return one
    if asked is None:
        one.rebuilt.append("what it was given")
    sound = {
        event["epoch"]: event for event in reversed(told) if event["event"] == "record"
    }  # the first one told wins
    end = next((event for event in told if event["event"] == "end"), None)
    frozen = books.frozen(trial)
    if end is None and frozen is not None and frozen.state.is_finished():
        end = _end(frozen)
    epochs = max([*sound, end["epoch"] if end else 0])
    lacking = [epoch for epoch in range(1, epochs + 1) if epoch not in sound]
    if lacking:
        stored = books.checkpoint(trial)[1]
    else:
        stored = {}
    for epoch in range(1, epochs + 1):
        record = sound.get(epoch) or stored.get(epoch)
        if record is None:
            one.again_from = epoch
            return one
        if epoch not in sound:
            one.rebuilt.append(f"epoch {epoch}")
        one.records[epoch] = record
    one.end = end
    if end is not None and end not in told:
        one.rebuilt.append("how it ended")
    return one


def _asked(trial: int, books: _Books) -> Event | None:
    known = books.assigned(trial)
    if known is None:
        return None
    params, config = known
    return journal.asked(trial, params, config, books.sweep.metrics)


def _end(frozen: FrozenTrial) -> Event | None:
    state, reason = frozen.user_attrs.get("state"), frozen.user_attrs.get("reason")
    if state is None or reason is None:
        return None
    epoch = max(frozen.intermediate_values, default=0)
    return {
        "event": "end",
        "trial": frozen.number,
        "state": str(TrialState(state)),
        "reason": reason,
        "epoch": epoch,
    }


def _in_order(events: list[Event], stories: dict[int, _Mended]) -> Iterator[Event]:
    """The events that are left, and before each what its trial had told by then; ends that were
    lost come last."""
    asked: set[int] = set()
    epochs = dict.fromkeys(stories, 0)
    ended: set[int] = set()
    for event in events:
        if event["event"] not in _OF_TRIALS:
            yield event
            continue
        one, when = stories[event["trial"]], event["time"]
        if one.asked is None or one.trial in ended:
            continue
        if one.trial not in asked:
            asked.add(one.trial)
            yield _at(when, one.asked)
        if event["event"] == "placed":
            yield event
        upto = {"record": event.get("epoch", 0), "end": len(one.records)}.get(event["event"], 0)
        for epoch in range(epochs[one.trial] + 1, min(upto, len(one.records)) + 1):
            epochs[one.trial] = epoch
            yield _at(when, one.records[epoch])
        if event["event"] == "end" and one.end is not None:
            ended.add(one.trial)
            yield event
    if events:
        last = events[-1]["time"]
    else:
        last = 0.0
    for one in stories.values():
        if one.end is not None and one.trial not in ended:
            for epoch in range(epochs[one.trial] + 1, len(one.records) + 1):
                yield _at(last, one.records[epoch])
            yield _at(last, one.end)


def _at(when: float, event: Event) -> Event:
    """The event, with this time when it has none of its own."""
    return {"event": event["event"], "time": event.get("time", when)} | event


def _damage(run: RunFolder, damage: Damage, kept: str) -> str:
    return (
        f"Line {damage.line} of {run.journal} {damage.what}. It was mended; as it was, it is kept"
        f" as {kept}."
    )
