"""The table of a run's trials, from its story: one `TrialRow` each."""

from analysis.trial_row import TrialRow
from sweeps.books.story import Story, TrialStory


def rows(story: Story) -> list[TrialRow]:
    """Every trial, by number."""
    return [row(story.trials[number]) for number in sorted(story.trials)]


def row(trial: TrialStory) -> TrialRow:
    """The row of one trial."""
    records = tuple(trial.records.values())
    return TrialRow(
        trial=trial.trial,
        seed=trial.seed,
        state=trial.state,
        reason=trial.reason,
        shape_key=trial.shape_key,
        epoch=trial.epoch,
        params=trial.params,
        metrics=trial.metrics,
        final=trial.final,
        records=records,
        recorded=tuple(record.time for record in records),
        placement=trial.placement,
        asked=trial.asked,
        started=trial.started,
        ended=trial.ended,
    )
