"""What a home already knows: trials found by their configuration, whichever run they are of.

A trial's numbers depend on its configuration and seed alone, so a table's row is served by any
finished trial with the wanted configuration: nothing is trained twice, and runs over some of the
rows add up to the whole table.

Configurations are compared whole, as they were written down, so that no default of another version
makes two of them equal or different. Only runs of the present arithmetic count
(`records.ARITHMETIC`), and only trials whose plug-ins have the present source.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from analysis.trial_row import FACTS
from sweeps.books import provenance, table
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
"""Which of two trials with one configuration is believed: the one that got farther, else the
newer."""


@dataclass(frozen=True)
class FoundTrial:
    """A trial, and the run that it is of."""

    run: RunFolder
    config: TrialConfig
    trial: TrialStory

    @cached_property
    def hardware(self) -> str:
        """`cpu, 1 thread`, or the GPU's name."""
        placement = self.trial.placement
        if placement is None:
            return ""
        threads = f"{placement.threads} {'thread' if placement.threads == 1 else 'threads'}"
        if placement.device == "cpu":
            return f"cpu, {threads}"
        return placement.device


def wanted(sweep: Sweep) -> list[TrialConfig]:
    """The configuration of every trial of a grid sweep, in its order."""
    return [sweep.trial_config(point) for point in sweep.search_space.grid()]


def runs_of(home: Home, name: str) -> Iterator[tuple[RunFolder, Sweep, Story]]:
    """The runs of a definition that this version would train alike, oldest first; see `left_out`
    for the others."""
    for run in home.runs():
        try:
            sweep = run.definition()
            if sweep.name == name and run.arithmetic() == ARITHMETIC:
                yield run, sweep, run.story()
        except ZoneoutError:
            continue


def left_out(home: Home, names: Collection[str]) -> Iterator[tuple[RunFolder, str]]:
    """Runs of these definitions that serve nothing, and why; one whose definition cannot be read
    may be of any."""
    for run in home.runs():
        try:
            of_these = run.definition().name in names
            if of_these and run.arithmetic() != ARITHMETIC:
                yield (
                    run,
                    (
                        f"its arithmetic is of edition {run.arithmetic()}, and this version's of"
                        f" {ARITHMETIC}"
                    ),
                )
            elif of_these:
                run.story()
        except ZoneoutError as error:
            yield run, str(error)


def find(home: Home, sweep: Sweep, only: Iterable[str] | None = None) -> list[FoundTrial]:
    """The trials of the home with the configurations that `sweep` wants, in its order; what was not
    tried is left out.

    only: names of the runs that count; None = all.
    """
    asked = {
        _text(config.to_json()): (number, config) for number, config in enumerate(wanted(sweep))
    }
    plugins = {text: tasks.plugins_of(config) for text, (_, config) in asked.items()}
    best: dict[str, FoundTrial] = {}
    for run, _, story in runs_of(home, sweep.name):
        if only is not None and run.name not in only:
            continue
        had = run.plugin_hashes().items()
        for trial in story.trials.values():
            text = _text(trial.config)
            if text not in asked or not plugins[text].items() <= had:
                continue
            if text not in best or rank(trial) >= rank(best[text].trial):
                best[text] = FoundTrial(run, asked[text][1], trial)
    return [best[text] for text in sorted(best, key=lambda text: asked[text][0])]


def rank(trial: TrialStory) -> int:
    """How much a trial says: 3 = it completed, 2 = it failed, 1 = it was ended early, 0 = it has
    not ended."""
    return _RANK.get(trial.state, 0)


def serves(source: FoundTrial, sweep: Sweep) -> bool:
    """Whether there is nothing more to train: it would fail again; what a budget cut off would go
    on."""
    return rank(source.trial) > (_RANK[TrialState.PRUNED] if sweep.scheduler == "none" else 0)


def _text(config: Mapping[str, object]) -> str:
    """Equal for equal configurations, in whatever order their fields were written."""
    return json.dumps(config, sort_keys=True)


def commits(sources: Iterable[FoundTrial]) -> list[str]:
    """Of the code that trained these trials, by what the drivers of their runs wrote down; seven
    digits each."""
    runs = {source.run.name: source.run for source in sources}
    drivers = [
        entry for run in runs.values() for entry in provenance.known(run.provenance, run.journal)[0]
    ]
    return sorted({entry.code.commit[:7] for entry in drivers if entry.code.commit})


def seconds(sources: Iterable[FoundTrial]) -> float:
    """Wall time of all their epochs. Lanes of a pack share theirs, and each counts all of it."""
    return sum(record.seconds for source in sources for record in source.trial.records.values())


def trials(sources: Iterable[FoundTrial]) -> "pd.DataFrame":
    """A line per trial: `label`, `hardware` and `TrialRow.cells`.

    Final metrics are NaN where a trial did not complete.
    """
    import pandas as pd

    lines = [
        {"label": source.config.label, "hardware": source.hardware}
        | table.row(source.trial).cells()
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
        for line in table.row(source.trial).epoch_cells()
    ]
    frame = pd.DataFrame(lines)
    return frame.reindex(columns=list(dict.fromkeys(["label", "seed", "epoch", *frame.columns])))
