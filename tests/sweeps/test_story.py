import time
from pathlib import Path

import pytest

from sweeps.books import trial_rows
from sweeps.books.events import EndEvent, TrialEvent
from sweeps.books.story import Story
from tests.sweeps.journals import RunMaker
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import RunError
from zoneout_core.records import CLASSES, TrialState


@pytest.fixture
def run(tmp_path: Path) -> RunMaker:
    return RunMaker(tmp_path / "run1", epochs=3)


def story(run: RunMaker) -> Story:
    return Story.of(run.folder / "journal.jsonl")


def test_a_journal_that_is_not_there_is_a_new_run(tmp_path: Path) -> None:
    told = Story.of(tmp_path / "journal.jsonl")
    assert (told.state, told.trials, told.best, trial_rows.rows(told)) == ("new", {}, None, [])


def test_true_states(run: RunMaker) -> None:
    run.driver()
    run.complete(0)
    run.pruned(1, epoch=2)
    run.failed(2, epoch=1)
    run.trial(3)
    told = story(run)
    assert told.state == "running"
    assert [(t.state, t.epoch) for t in told.trials.values()] == [
        (TrialState.COMPLETE, 3),
        (TrialState.PRUNED, 2),
        (TrialState.FAILED, 1),
        (TrialState.RUNNING, 0),
    ]
    assert told.trials[2].reason == "diverged: the loss of epoch 2 is not finite"
    assert told.counts[TrialState.RUNNING] == 1


def test_closing_interrupts_what_has_not_finished_and_nothing_else(run: RunMaker) -> None:
    run.driver()
    run.complete(0)
    run.trial(1)
    run.closed("interrupted", "Ctrl-C")
    told = story(run)
    assert told.state == "interrupted"
    assert told.trials[0].state is TrialState.COMPLETE
    assert (told.trials[1].state, told.trials[1].reason) == (TrialState.INTERRUPTED, "Ctrl-C")


def test_a_new_driver_interrupts_until_a_trial_is_placed_again(run: RunMaker) -> None:
    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    run.driver()
    assert story(run).trials[0].state is TrialState.INTERRUPTED
    run.placed(0)
    told = story(run)
    assert (told.state, told.trials[0].state, told.trials[0].reason) == (
        "running",
        TrialState.RUNNING,
        "",
    )
    assert told.trials[0].epoch == 1


def test_a_driver_that_died_without_a_word_is_told_by_interrupt(run: RunMaker) -> None:
    run.driver()
    run.trial(0)
    told = story(run)
    told.interrupt("its driver died")
    assert (told.state, told.trials[0].state) == ("interrupted", TrialState.INTERRUPTED)
    assert told.closed is not None
    assert told.closed.time == told.latest


def test_an_epoch_told_twice_counts_once_and_the_first_stands(run: RunMaker) -> None:
    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    first = story(run).trials[0].records[1].time
    run.record(0, 1, 3.0)
    trial = story(run).trials[0]
    assert trial.records[1].metrics["valid_chunked_bpc"] == 2.0
    assert [record.time for record in trial.records.values()] == [first]


def test_the_first_end_stands(run: RunMaker) -> None:
    run.driver()
    run.complete(0)
    run.end(0, TrialState.FAILED, "too late", 3)
    run.placed(0)
    assert story(run).trials[0].state is TrialState.COMPLETE


def test_best_is_the_lowest_objective_of_trials_that_did_not_fail(run: RunMaker) -> None:
    run.driver()
    for number, value in enumerate((2.0, 1.5, 1.5, 1.0)):
        run.trial(number)
        run.record(number, 1, value)
    run.end(3, TrialState.FAILED, "diverged", 1)
    best = story(run).best
    assert best is not None
    assert best.trial == 1


def test_final_metrics_come_from_the_last_record(run: RunMaker) -> None:
    run.driver()
    run.complete(0)
    trial = story(run).trials[0]
    assert trial.final is not None
    assert trial.final["best_epoch"] == 3.0
    assert trial.best is not None
    assert trial.final["valid_chunked_bpc"] == trial.best.metrics["valid_chunked_bpc"]


def test_rows_are_plain_and_by_number(run: RunMaker) -> None:
    run.driver()
    run.complete(1)
    run.trial(0, z_cells=0.25)
    first, second = trial_rows.rows(story(run))
    assert (first.trial, first.params["regularizer.zoneout.z_cells"], first.final) == (
        0,
        0.25,
        None,
    )
    assert [record.epoch for record in second.records] == [1, 2, 3]
    assert TrialConfig.from_json(story(run).trials[1].config).value("z_cells") == 0.5


def test_what_a_trial_reports_is_what_its_task_said_then() -> None:
    """A journal needs no task file to be read: the task may report something else today, or be
    gone."""
    config = TrialConfig().with_values({"task": "char_pydoc", "hidden_size": 12})
    event = TrialEvent.of(0, {}, config, CLASSES)
    trial = Story([event]).trials[0]
    assert (trial.config, trial.metrics) == (config.to_json(), CLASSES)


def test_a_journal_that_leaves_something_out_is_refused(run: RunMaker) -> None:
    run.driver()
    run.trial(0)
    run.record(0, 1, 2.0)
    run.record(0, 3, 2.0)
    with pytest.raises(RunError) as gap:
        story(run)
    rule = "A journal must have each trial's events in order, but this one has "
    assert str(gap.value) == f"{rule}epoch 3 of trial 0 before epoch 2."
    with pytest.raises(RunError) as unknown:
        Story([EndEvent(trial=7, state=TrialState.FAILED, reason="", epoch=0)])
    assert str(unknown.value) == f"{rule}trial 7 before it was asked for."


def test_unknown_events_change_nothing(run: RunMaker) -> None:
    run.driver()
    run.tell("something_new", trial=99)
    assert story(run).trials == {}


def test_folding_a_whole_figure_is_quick(tmp_path: Path) -> None:
    run = RunMaker(tmp_path / "run1", epochs=110)
    run.driver()
    for number in range(36):
        run.complete(number)
    began = time.process_time()
    told = story(run)
    seconds = time.process_time() - began
    assert len(told.trials[35].records) == 110
    assert seconds < 1.0  # 0.04 on a quiet machine
