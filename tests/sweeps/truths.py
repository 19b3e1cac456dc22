"""What must be true of a run, whatever happened to it: in its journal, in Optuna and in MLflow."""

from collections import Counter
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeps.books import journal
from sweeps.books.events import EndEvent, RecordEvent, TrialEvent
from sweeps.books.run_folder import RunFolder
from sweeps.tracking.mirror import RUN_STATUS, TRIAL_STATUS
from tests.sweeps.journals import kind
from tests.sweeps.stores import stored
from zoneout_core.records import TrialState

OPTUNA = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.INTERRUPTED: OptunaState.WAITING,
}


def studied(run: RunFolder) -> list[FrozenTrial]:
    """Optuna's trials of a run."""
    return optuna.load_study(
        study_name=run.name, storage=JournalStorage(JournalFileBackend(str(run.study)))
    ).trials


def states(run: RunFolder) -> list[TrialState]:
    """The state of every trial that was asked for, by number."""
    story = run.story()
    return [story.trials[number].state for number in sorted(story.trials)]


def check_books(run: RunFolder) -> None:
    """Each trial, each epoch and each end is in the journal once; Optuna tells the same, and of
    nothing as RUNNING."""
    events = list(journal.read(run.journal))
    seen = Counter(
        (kind(event), event.trial, getattr(event, "epoch", None))
        for event in events
        if isinstance(event, TrialEvent | RecordEvent)
    )
    seen.update(("end", event.trial, None) for event in events if isinstance(event, EndEvent))
    assert [what for what, times in seen.items() if times > 1] == []
    story, trials = run.story(), studied(run)
    for frozen in trials:
        trial = story.trials.get(frozen.number)
        if trial is None:
            assert frozen.state == OptunaState.WAITING
            continue
        assert frozen.state == OPTUNA[trial.state], (trial.trial, trial.state, frozen.state)
        assert frozen.intermediate_values == {e: trial.value(r) for e, r in trial.records.items()}
        assert list(trial.records) == sorted(trial.records), "told in their order"
        if trial.state.finished:
            assert frozen.user_attrs["reason"] == trial.reason
        if trial.state is TrialState.COMPLETE:
            assert frozen.value == trial.best_value is not None


def check_mlflow(run: RunFolder, experiment: str) -> None:
    """One parent and one child for each trial, in their true states, each epoch once."""
    story = run.story()
    runs = stored(f"sqlite:///{run.folder.parent / 'mlflow.db'}", experiment, files=False)
    parent = runs.pop(run.name)
    assert parent.status == RUN_STATUS[story.state]
    assert parent.tags["zoneout.state"] == story.state
    assert sorted(runs) == [f"{run.name}/{number:05d}" for number in sorted(story.trials)]
    for number, trial in story.trials.items():
        child = runs[f"{run.name}/{number:05d}"]
        assert child.status == TRIAL_STATUS[trial.state]
        assert child.tags["zoneout.state"] == str(trial.state)
        assert child.tags["zoneout.reason"] == trial.reason
        steps = [step for step, _, _ in child.history.get(trial.metrics.objective, ())]
        assert steps == list(trial.records)


def cut_lines(file: Path, count: int) -> None:
    """The file as a power cut may leave it: without its last lines."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[: len(lines) - count]))
