"""The book-keeper of a run: the one place that changes a trial's state. Both drivers report to it.

The journal is written first, the study second; on opening, the study is mended from the journal. So
whatever is killed and whenever, each trial is there once, each epoch is there once, and nothing
stays running.
"""

from collections.abc import Callable
from contextlib import suppress

from sweeps.books import events, mending
from sweeps.books.events import (
    ArtifactEvent,
    ClosedEvent,
    DriverEvent,
    EndEvent,
    Event,
    LaneEvent,
    Mode,
    Provenance,
    RecordEvent,
    RunEnd,
    TrialEvent,
    WarningEvent,
)
from sweeps.books.journal import Journal
from sweeps.books.run_folder import RunFolder
from sweeps.books.storage import StorageAway
from sweeps.books.story import Story
from sweeps.books.study import Assignment
from sweeps.clock import Clock
from sweeps.definition import Sweep
from zoneout_core.records import EpochRecord, TrialState


class Ledger:
    """Journal and study of a run that is being driven. The caller holds the run's lock."""

    def __init__(
        self, run: RunFolder, sweep: Sweep, mode: Mode, provenance: Provenance | None = None
    ) -> None:
        """Open the books, and mend the study from the journal. `provenance` is what its trials are
        made of (`provenance.summary`).

        Raises `HomeError` when the journal cannot be written and `RunError` when it is damaged
        (`mending.mend_journal` comes before), or says something else than a storage that is not
        ours to delete.
        """
        self.sweep = sweep
        self._journal = Journal(run.journal)
        before = list(self._journal.events())
        self.story = Story(before)
        self._clock = Clock(self.story.latest or 0.0)
        self._study, self.mended = mending.open_study(run, sweep, self.story.trials)
        self._append(DriverEvent.of(mode, provenance or Provenance()))
        for text in self.mended:
            self._append(WarningEvent(text=text))
        self._decide(before)

    def be_patient(self, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
        """See `Study.be_patient`."""
        self._study.be_patient(say, stop)

    def ask(self) -> Assignment | None:
        """The next trial to run, or None when all have been asked for."""
        assignment = self._study.ask()
        if assignment is not None and assignment.trial not in self.story.trials:
            self._append(
                TrialEvent.of(
                    assignment.trial, assignment.params, assignment.config, self.sweep.metrics
                )
            )
        return assignment

    def take(self, event: LaneEvent) -> bool:
        """Take in an event of a trial's lane. True: the trial has to stop, and is PRUNED now.

        An epoch that was redone after a crash is known already and changes nothing; a trial that
        has ended stays so.
        """
        assert event.trial is not None, "what a lane reports names its trial"
        trial = self.story.trials[event.trial]
        if trial.state.finished:
            return True
        match event:
            case RecordEvent():
                if event.epoch in trial.records:
                    return False
                self._append(event)
                return self._stops(event)
            case EndEvent():
                self.end(event.trial, event.state, event.reason)
            case _:
                self._append(event)
        return False

    def end(self, number: int, state: TrialState, reason: str) -> None:
        """A trial has ended in `state`; later ends of the same trial change nothing."""
        trial = self.story.trials[number]
        if trial.state.finished:
            return
        self._append(EndEvent(trial=number, state=state, reason=reason, epoch=trial.epoch))
        self._study.tell(number, state, reason, trial.best_value)

    def lost(self, number: int, reason: str) -> None:
        """A trial's process is gone for good: it FAILED."""
        self.end(number, TrialState.FAILED, reason)

    def note(self, event: ArtifactEvent | WarningEvent) -> None:
        """Append an event that changes no trial."""
        self._append(event)

    def running(self) -> list[int]:
        """Trials that were asked for and have not ended."""
        return [number for number, trial in self.story.trials.items() if not trial.state.finished]

    def is_over(self) -> bool:
        """Whether every trial of the sweep has ended."""
        return len(self.story.trials) >= self.sweep.max_trials and not self.running()

    def close(self, state: RunEnd, reason: str) -> None:
        """The driver leaves. `interrupted` and `failed` put unfinished trials back into the queue
        for `sweep resume`; `budget` prunes them at their last epoch, because the sweep is over.
        """
        for number in self.running():
            with suppress(StorageAway):  # the next driver mends the study from the journal
                if state == "budget":
                    self.end(number, TrialState.PRUNED, reason)
                else:
                    self._study.requeue(number)
        self._append(ClosedEvent(state=state, reason=reason))
        self._journal.close()

    def _stops(self, record: EpochRecord) -> bool:
        """Ask the scheduler about a record. True: its trial is PRUNED now; one that has nothing
        left to train stays."""
        last = record.epoch >= self.story.trials[record.trial].epochs
        over = self._study.report(record) and record.final is None and not last
        if over:
            self.end(
                record.trial, TrialState.PRUNED, f"{self.sweep.scheduler} at epoch {record.epoch}"
            )
        return over

    def _decide(self, before: list[Event]) -> None:
        """What the last driver was about to: it may have been killed between a record and what the
        scheduler said."""
        for event in reversed(before):
            if isinstance(event, DriverEvent | WarningEvent):
                continue
            if isinstance(event, RecordEvent):
                self._stops(self.story.trials[event.trial].records[event.epoch])
            return

    def _append(self, event: Event) -> None:
        self.story.add(self._journal.append(events.stamped(event, self._clock.now())))
