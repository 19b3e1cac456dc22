"""What a home already knows: trials found by their configuration, whichever run they are of.

A trial's numbers depend on its configuration and seed alone, so a table's row is served by any finished trial with
the wanted configuration: nothing is trained twice, and runs over some of the rows add up to the whole table.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweeps.definition import Sweep
from sweeps.home import Home, Run
from sweeps.story import Story, TrialStory
from zoneout_core.config import TrialConfig
from zoneout_core.errors import ZoneoutError
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    import pandas as pd

_RANK = {TrialState.COMPLETE: 3, TrialState.FAILED: 2, TrialState.PRUNED: 1}
"""Which of two trials with one configuration is believed: the one that got farther, else the newer."""


@dataclass(frozen=True)
class Found:
    """A trial, and the run that it is of."""

    run: Run
    config: TrialConfig
    trial: TrialStory

    @cached_property
    def hardware(self) -> str:
        """`cpu, 1 thread`, or the GPU's name."""
        placement = self.trial.placement
        if placement is None:
            return ""
        threads = f"{placement.threads} {'thread' if placement.threads == 1 else 'threads'}"
        return f"cpu, {threads}" if placement.device == "cpu" else placement.device


def wanted(sweep: Sweep) -> list[TrialConfig]:
    """The configuration of every trial of a grid sweep, in its order."""
    return [sweep.trial_config(point) for point in sweep.search_space.grid()]


def runs_of(home: Home, name: str) -> Iterator[tuple[Run, Sweep, Story]]:
    """The runs of a definition, oldest first; one that cannot be read is none."""
    for run in home.runs():
        try:
            sweep = run.definition()
            if sweep.name == name:
                yield run, sweep, run.story()
        except ZoneoutError:
            continue


def find(home: Home, sweep: Sweep, only: Iterable[str] | None = None) -> list[Found]:
    """The trials of the home with the configurations that `sweep` wants, in its order; what was not tried is left out.

    only: names of the runs that count; None = all.
    """
    asked = {config: number for number, config in enumerate(wanted(sweep))}
    best: dict[TrialConfig, Found] = {}
    for run, _, story in runs_of(home, sweep.name):
        if only is not None and run.name not in only:
            continue
        for trial in story.trials.values():
            config = _config(trial)
            if config in asked and (config not in best or rank(trial) >= rank(best[config].trial)):
                best[config] = Found(run, config, trial)
    return sorted(best.values(), key=lambda found: asked[found.config])


def rank(trial: TrialStory) -> int:
    """How much a trial says: 3 = it completed, 2 = it failed, 1 = it was ended early, 0 = it has not ended."""
    return _RANK.get(trial.state, 0)


def serves(found: Found, sweep: Sweep) -> bool:
    """Whether there is nothing more to train: it would fail again; what a budget cut off would go on."""
    return rank(found.trial) > (_RANK[TrialState.PRUNED] if sweep.scheduler == "none" else 0)


def _config(trial: TrialStory) -> TrialConfig | None:
    """None for a trial of other times, whose configuration does not exist any more."""
    try:
        return TrialConfig.from_json(trial.config)
    except ZoneoutError:
        return None


def commits(found: Iterable[Found]) -> list[str]:
    """Of the code that trained these trials, by what the drivers of their runs wrote down; seven digits each."""
    files = {one.run.provenance for one in found if one.run.provenance.exists()}
    drivers = [entry for file in files for entry in json.loads(file.read_text())]
    return sorted({entry["code"]["commit"][:7] for entry in drivers if entry["code"]["commit"]})


def seconds(found: Iterable[Found]) -> float:
    """Wall time of all their epochs. Lanes of a pack share theirs, and each counts all of it."""
    return sum(record.seconds for one in found for record in one.trial.records.values())


def trials(found: Iterable[Found]) -> "pd.DataFrame":
    """A line per trial: `label seed state reason epoch hardware`, what was searched, and final metrics by name.

    Final metrics are NaN where a trial did not complete.
    """
    import pandas as pd

    lines = [_line(one) for one in found]
    frame = pd.DataFrame(lines)
    columns = ["label", "seed", "state", "reason", "epoch", "hardware"]
    return frame.reindex(columns=list(dict.fromkeys([*columns, *frame.columns])))


def _line(found: Found) -> dict[str, Any]:
    trial = found.trial
    told: Mapping[str, float] = trial.final or {}
    return {
        "label": found.config.label,
        "seed": found.config.seed,
        "state": str(trial.state),
        "reason": trial.reason,
        "epoch": trial.epoch,
        "hardware": found.hardware,
        **{key: value for key, value in trial.params.items() if key not in ("label", "seed")},
        **told,
    }


def curves(found: Iterable[Found]) -> "pd.DataFrame":
    """A line per trial and epoch: `label seed epoch` and the metrics of every record."""
    import pandas as pd

    lines = [
        {"label": one.config.label, "seed": one.config.seed, "epoch": epoch, **record.metrics}
        for one in found
        for epoch, record in one.trial.records.items()
    ]
    frame = pd.DataFrame(lines)
    return frame.reindex(columns=list(dict.fromkeys(["label", "seed", "epoch", *frame.columns])))
