"""Carrying a reproduction out: the sweeps it lacks are run or gone on with, and all of it is read
from the home."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis import page, table
from analysis.caption import DOT, agreed, count, network
from analysis.table import Table
from sweeps.books.run_folder import Home, RunFolder
from sweeps.definition import RESUMABLE, Sweep
from sweeps.definitions import _rows
from sweeps.files import refuse_links
from sweeps.paper import found_trials
from sweeps.paper.found_trials import wanted
from sweeps.paper.reproductions import Block, Reading, Reproduction
from zoneout_core import tasks
from zoneout_core.config import registry
from zoneout_core.config.trial import TrialConfig
from zoneout_core.errors import ConfigError, HomeError, UnknownName
from zoneout_core.records import TrialState


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asked for."""

    name: str
    """Of the reproduction, as typed."""
    scale: str = _rows.PAPER
    labels: tuple[str, ...] = ()
    """Only these rows; none = all."""
    seeds: int = 0
    """Seeds 0 .. seeds - 1; 0 = those of the definitions."""
    settings: dict[str, object] = field(default_factory=dict)
    """Of `--set`: they make it another experiment, which is always said."""

    @property
    def changed(self) -> bool:
        """Whether a number depends on what was set."""
        return not set(self.settings) <= set(RESUMABLE)

    @property
    def folder_name(self) -> str:
        """`table1-small`; numbers of a changed experiment lie apart."""
        return f"{self.name}-{self.scale}" + ("-changed" if self.changed else "")


def blocks(
    reproduction: Reproduction, request: Request, lanes: int | None = None
) -> Iterator[tuple[Block, Sweep]]:
    """Every block with its sweep at the scale, narrowed to the rows and seeds that are asked for.

    Raises `UnknownName` for a row or a scale that does not exist, `ConfigError` for a setting that
    is refused.
    """
    for label in request.labels:
        if label not in reproduction.labels:
            raise UnknownName(f"row of {request.name}", label, reproduction.labels)
    for block in reproduction.blocks:
        kept = [row for row in block.rows if not request.labels or row.label in request.labels]
        if not kept and (block.rows or request.labels):
            continue
        sweep = _rows.narrowed(_rows.get(block.sweep, request.scale), [row.label for row in kept])
        settings = dict(request.settings)
        if request.seeds:
            settings["seeds"] = tuple(range(request.seeds))
        if lanes is not None:
            settings["lanes"] = lanes
        sweep = sweep.with_values(settings)
        if sweep.cut:
            raise ConfigError(
                f"A reproduction needs all trials of its sweeps, but num_trials={sweep.num_trials} "
                f"leaves {sweep.cut}, of {sweep.name}. Leave num_trials out, or train a part of "
                f"{sweep.name} with `sweep run` and the same --set."
            )
        yield replace(block, rows=tuple(kept)), sweep


def to_train(pairs: Iterable[tuple[Block, Sweep]]) -> list[Sweep]:
    """What has to be trained for these blocks: blocks over one definition become one sweep over all
    their rows."""
    merged: dict[str, Sweep] = {}
    for block, sweep in pairs:
        if not block.trained_by:
            merged[sweep.name] = (
                _rows.merged(merged[sweep.name], sweep) if sweep.name in merged else sweep
            )
    return list(merged.values())


def lacking(home: Home, sweep: Sweep, only: Collection[str] | None = None) -> Sweep | None:
    """The part of a sweep that no trial of the home serves: its rows and seeds; None when nothing
    is left."""
    served = {
        source.config
        for source in found_trials.find(home, sweep, only)
        if found_trials.serves(source, sweep)
    }
    left = [config for config in wanted(sweep) if config not in served]
    if not left:
        return None
    seeds = [seed for seed in sweep.seeds if any(config.seed == seed for config in left)]
    part = _rows.narrowed(sweep, {config.label for config in left})
    return replace(part, seeds=tuple(seeds))


def resumable(home: Home, sweep: Sweep) -> RunFolder | None:
    """The newest run that stopped on its way and has nothing to do but trials that `sweep`
    wants."""
    wanted_configs = set(wanted(sweep))
    newest = None
    for run, begun, story in found_trials.runs_of(home, sweep.name):
        ended = sum(trial.state.finished for trial in story.trials.values())
        if run.own_plugins() != registry.active():  # a resume would train with its own
            continue
        has_more = begun.sampler == "grid" and ended < begun.max_trials and not run.is_driven()
        if has_more and set(wanted(begun)) <= wanted_configs and lacking(home, begun) is not None:
            newest = run
    return newest


def going_on(begun: Sweep, sweep: Sweep) -> Sweep:
    """The definition of a run that is gone on with; what changes no number is as it is asked for
    now."""
    return replace(
        begun,
        **{
            name: getattr(sweep, name)
            for name in ("time_budget_s", "lanes", "max_concurrent_trials", "max_failures")
        },
    )


def read(
    home: Home, block: Block, sweep: Sweep, request: Request, only: Collection[str] | None = None
) -> Reading:
    """What the home has of a block."""
    sources = found_trials.find(home, sweep, only)
    trials = found_trials.trials(sources)
    numbers = table.compute(trials, block.title, request.scale, block.columns, block.rows)
    return Reading(
        block=block,
        sweep=sweep,
        table=numbers,
        trials=trials,
        curves=found_trials.curves(sources),
        sources=sources,
        is_paper=request.scale == _rows.PAPER and not request.changed,
        subtitle=subtitle(sweep, request, numbers),
    )


def best(reading: Reading) -> dict[str, Any] | None:
    """The complete trial with the lowest objective; None while there is none."""
    complete = [
        source.trial for source in reading.sources if source.trial.state is TrialState.COMPLETE
    ]
    values = [trial.best_value for trial in complete]
    if not complete:
        return None
    value, trial = min(
        zip(values, complete, strict=True), key=lambda pair: (pair[0], pair[1].trial)
    )
    return {"of": len(complete), "value": value, "params": trial.params}


def subtitle(sweep: Sweep, request: Request, numbers: Table) -> str:
    """What a figure has to say of its numbers: task, network, seeds and scale.

    Of the network what all rows have, and of the seeds how many completed, not how many were asked
    for.
    """
    models = [config.model for config in wanted(sweep)]
    cell, layers, hidden = (
        agreed(getattr(model, name) for model in models)
        for name in ("cell", "num_layers", "hidden_size")
    )
    if tasks.get(sweep.base.task).workload == "consistency":
        described = ""
    else:
        described = network(cell, layers, hidden)
    scale = f"scale: {request.scale}" + (", changed by --set" if request.changed else "")
    return DOT.join(
        part for part in (sweep.base.task, described, _seeds(sweep, numbers), scale) if part
    )


def _seeds(sweep: Sweep, numbers: Table) -> str:
    """`3 seeds`, or `1-3 of 3 seeds` where rows have different numbers of complete trials."""
    wanted_seeds = len(sweep.seeds)
    done = sorted({len(line.seeds) for line in numbers.lines if line.seeds}) or [wanted_seeds]
    if done == [wanted_seeds]:
        return count(wanted_seeds, "seed", "seeds")
    return (
        f"{'-'.join(str(number) for number in dict.fromkeys((done[0], done[-1])))} of"
        f" {count(wanted_seeds, 'seed', 'seeds')}"
    )


def smaller(block: Block, sweep: Sweep) -> dict[str, list[str]]:
    """What is not as in the paper, `hidden_size=128 (paper: 1000)`: of all rows (under ""), and by
    label what one has alone.

    Rows that differ in what all have differ from it in the paper.
    """
    paper = _rows.narrowed(_rows.get(block.sweep, _rows.PAPER), [row.label for row in block.rows])
    differences = {"": _differences(sweep.base, paper.base)}
    theirs = {config.label: config for config in wanted(paper)}
    for config in wanted(replace(sweep, seeds=sweep.seeds[:1])):
        if config.label:
            differing = [
                difference
                for difference in _differences(config, theirs[config.label])
                if difference not in differences[""]
            ]
            differences |= {config.label: differing} if differing else {}
    return differences


def _differences(mine: TrialConfig, paper: TrialConfig) -> list[str]:
    ours, theirs = mine.flat(), paper.flat()
    both = [key for key in ours if key in theirs]  # cells have settings of their own
    keys = [key for key in both if ours[key] != theirs[key] and key != "seed"]
    return [f"{key.rpartition('.')[2]}={ours[key]} (paper: {theirs[key]})" for key in keys]


def write(
    folder: Path,
    reproduction: Reproduction,
    readings: Collection[Reading],
    summary: dict[str, object],
) -> list[Path]:
    """The numbers as CSV and JSON, the figures, and a page of Markdown into `folder`; equal
    numbers, equal bytes. Raises `HomeError` when the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_links(folder)
        return _write(folder, reproduction, readings, summary)
    except OSError as error:
        raise HomeError(
            f"Tables and figures are written to {folder}, which must be writable, but:"
            f" {error.strerror or error}. Make room or choose another folder with --home DIR."
        ) from error


def _write(
    folder: Path, reproduction: Reproduction, readings: Collection[Reading], summary: dict[str, Any]
) -> list[Path]:
    files = []
    for number, reading in enumerate(readings, start=1):
        if reading.block.rows:
            files.append(folder / f"{number}_{reading.block.sweep}.csv")
            files[-1].write_text(table.to_csv(reading.table))
    files.append(folder / "numbers.json")
    files[-1].write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    if reproduction.draw is not None:
        files += reproduction.draw(list(readings), folder)
    pictures = [file.name for file in files if file.suffix == ".png"]
    files.append(folder / "page.md")
    files[-1].write_text(page.page(summary, reproduction.title, reproduction.notes, pictures))
    return files
