"""Trials that a home already has, found by their configuration in all of its runs.

A trial's numbers depend on its configuration and seed alone, so any finished trial with the wanted
configuration serves a table's row. Nothing is trained twice, and runs over some of the rows add up
to the whole table.

Complete configurations are compared, as the journals have them, so that another version's defaults
make no two of them equal or different. Only runs of the current arithmetic count
(`records.ARITHMETIC`), and only trials whose plug-ins have the current source.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from analysis.caption import count
from analysis.trial_row import FACTS
from sweeps.books import provenance, trial_rows
from sweeps.books.run_folder import Home, RunFolder
from sweeps.books.story import Story, TrialStory
from sweeps.definition import Sweep
from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ZoneoutError
from zoneout_core.records import ARITHMETIC, TrialState

if TYPE_CHECKING:
    import pandas as pd

_RANK = {TrialState.COMPLETE: 3, TrialState.FAILED: 2, TrialState.PRUNED: 1}
"""Of two trials with the same configuration the one with the higher rank counts, else the newer."""


@dataclass(frozen=True)
class FoundTrial:
    """A trial, and the run that it belongs to."""

    run: RunFolder
    config: TrialConfig
    trial: TrialStory

    @cached_property
    def hardware(self) -> str:
        """`cpu, 1 thread`, or the GPU's name."""
        placement = self.trial.placement
        if placement is None:
            return ""
        if placement.device == "cpu":
            return f"cpu, {count(placement.threads, 'thread', 'threads')}"
        return placement.device


def wanted(sweep: Sweep) -> list[TrialConfig]:
    """The configuration of every trial of a grid sweep, in the grid's order."""
    return [sweep.trial_config(point) for point in sweep.search_space.grid()]


def runs_of(home: Home, name: str) -> Iterator[tuple[RunFolder, Sweep, Story]]:
    """The runs of a definition with the current arithmetic, oldest first. `left_out` has the
    others."""
    for run in home.runs():
        try:
            sweep = run.definition()
            if sweep.name == name and run.arithmetic() == ARITHMETIC:
                yield run, sweep, run.story()
        except ZoneoutError:
            continue


def left_out(home: Home, names: Collection[str]) -> Iterator[tuple[RunFolder, str]]:
    """Runs of these definitions whose trials cannot be used, and why. A run whose definition cannot
    be read may belong to any of them, so it is included."""
    for run in home.runs():
        try:
            if run.definition().name not in names:
                continue
            edition = run.arithmetic()
            if edition == ARITHMETIC:
                run.story()
                continue
        except ZoneoutError as error:
            yield run, str(error)
            continue
        yield run, f"its arithmetic is of edition {edition}, and this version's of {ARITHMETIC}"


def find(home: Home, sweep: Sweep, only: Iterable[str] | None = None) -> list[FoundTrial]:
    """The trials of the home with the configurations that `sweep` wants, in its order. Wanted
    configurations that no run has tried are missing.

    only: names of the runs that count; None = all.
    """
    configs = {_text(config.to_json()): config for config in wanted(sweep)}
    plugins = {text: tasks.plugins_of(config) for text, config in configs.items()}
    best: dict[str, FoundTrial] = {}
    for run, _, story in runs_of(home, sweep.name):
        if only is not None and run.name not in only:
            continue
        run_plugins = run.plugin_hashes().items()
        for trial in story.trials.values():
            text = _text(trial.config)
            if text not in configs or not plugins[text].items() <= run_plugins:
                continue
            if text not in best or rank(trial) >= rank(best[text].trial):
                best[text] = FoundTrial(run, configs[text], trial)
    return [best[text] for text in configs if text in best]


def rank(trial: TrialStory) -> int:
    """How far a trial got: 3 = it completed, 2 = it failed, 1 = it was stopped early, 0 = it has
    not ended."""
    return _RANK.get(trial.state, 0)


def serves(source: FoundTrial, sweep: Sweep) -> bool:
    """Whether the trial need not be trained again.

    A failed trial would fail again. A pruned trial of a sweep without a scheduler was cut off by a
    time budget, and would go on.
    """
    if sweep.scheduler == "none":
        return rank(source.trial) > _RANK[TrialState.PRUNED]
    return rank(source.trial) > 0


def _text(config: Mapping[str, object]) -> str:
    """Equal for equal configurations, in whatever order their fields were written."""
    return json.dumps(config, sort_keys=True)


def commits(sources: Iterable[FoundTrial]) -> list[str]:
    """The commits of the code that trained these trials, seven digits each, from the provenance of
    their runs."""
    runs = {source.run.name: source.run for source in sources}
    drivers = [
        entry for run in runs.values() for entry in provenance.known(run.provenance, run.journal)[0]
    ]
    return sorted({entry.code.commit[:7] for entry in drivers if entry.code.commit})


def seconds(sources: Iterable[FoundTrial]) -> float:
    """Wall time of all their epochs, in seconds. It counts once for each lane of a pack."""
    return sum(record.seconds for source in sources for record in source.trial.records.values())


def trials(sources: Iterable[FoundTrial]) -> "pd.DataFrame":
    """A line per trial: `label`, `hardware` and `TrialRow.cells`.

    Final metrics are NaN where a trial did not complete.
    """
    import pandas as pd

    lines = [
        {"label": source.config.label, "hardware": source.hardware}
        | trial_rows.row(source.trial).cells()
        for source in sources
    ]
    frame = pd.DataFrame(lines)
    columns = ["label", *FACTS, "hardware"]
    return frame.reindex(columns=list(dict.fromkeys([*columns, *frame.columns])))


def curves(sources: Iterable[FoundTrial]) -> "pd.DataFrame":
    """A line per trial and epoch: `label` and `TrialRow.epoch_cells`."""
    import pandas as pd

    lines = [
        {"label": source.config.label} | line
        for source in sources
        for line in trial_rows.row(source.trial).epoch_cells()
    ]
    frame = pd.DataFrame(lines)
    return frame.reindex(columns=list(dict.fromkeys(["label", "seed", "epoch", *frame.columns])))
