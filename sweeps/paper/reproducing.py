"""Reproducing a table or figure: which sweeps are still to be trained, and reading the results from
the home."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis import page, paper_table
from analysis.caption import DOT, agreed, count, network
from analysis.paper_table import Table
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
    """The request of a user."""

    name: str
    """The name of the reproduction, as typed."""
    scale: str = _rows.PAPER
    labels: tuple[str, ...] = ()
    """Only these rows; empty = all."""
    seeds: int = 0
    """Seeds 0 .. seeds - 1; 0 = those of the definitions."""
    settings: dict[str, object] = field(default_factory=dict)
    """The values of `--set`. They make it another experiment, which the results always say."""

    @property
    def changed(self) -> bool:
        """Whether any number depends on the settings."""
        return not set(self.settings) <= set(RESUMABLE)

    @property
    def folder_name(self) -> str:
        """`table1-small`; a changed experiment has a folder of its own."""
        return f"{self.name}-{self.scale}" + ("-changed" if self.changed else "")


def blocks(
    reproduction: Reproduction, request: Request, lanes: int | None = None
) -> Iterator[tuple[Block, Sweep]]:
    """Every block with its sweep at the requested scale, narrowed to the requested rows and seeds.

    Raises `UnknownName` for a row or a scale that does not exist, and `ConfigError` for a setting
    that is refused.
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
    """The sweeps to train for these blocks. Blocks of the same definition become one sweep over all
    their rows."""
    merged: dict[str, Sweep] = {}
    for block, sweep in pairs:
        if block.trained_by:
            continue
        if sweep.name in merged:
            merged[sweep.name] = _rows.merged(merged[sweep.name], sweep)
        else:
            merged[sweep.name] = sweep
    return list(merged.values())


def lacking(home: Home, sweep: Sweep, only: Collection[str] | None = None) -> Sweep | None:
    """The part of a sweep, by rows and seeds, that no trial of the home serves; None if all of it
    is served."""
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
    """The newest unfinished run whose trials are all wanted by `sweep`; None if there is none."""
    wanted_configs = set(wanted(sweep))
    newest = None
    for run, begun, story in found_trials.runs_of(home, sweep.name):
        ended = sum(trial.state.finished for trial in story.trials.values())
        if run.own_plugins() != registry.active():  # a resume would use the run's own
            continue
        has_more = begun.sampler == "grid" and ended < begun.max_trials and not run.is_driven()
        if has_more and set(wanted(begun)) <= wanted_configs and lacking(home, begun) is not None:
            newest = run
    return newest


def going_on(begun: Sweep, sweep: Sweep) -> Sweep:
    """The definition with which a run is continued: its own, with the current values of settings
    that change no number."""
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
    """What the home has for a block."""
    sources = found_trials.find(home, sweep, only)
    trials = found_trials.trials(sources)
    numbers = paper_table.compute(trials, block.title, request.scale, block.columns, block.rows)
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
    if not complete:
        return None
    trial = min(complete, key=lambda trial: (trial.best_value, trial.trial))
    return {"of": len(complete), "value": trial.best_value, "params": trial.params}


def subtitle(sweep: Sweep, request: Request, numbers: Table) -> str:
    """The line below a figure's title: task, network, seeds and scale.

    It has only what all rows share of the network, and counts the seeds that completed, not those
    that were requested.
    """
    parts = [sweep.base.task]
    if tasks.get(sweep.base.task).workload != "consistency":
        models = [config.model for config in wanted(sweep)]
        cell = agreed(model.cell for model in models)
        layers = agreed(model.num_layers for model in models)
        hidden = agreed(model.hidden_size for model in models)
        parts.append(network(cell, layers, hidden))
    parts.append(_seeds(sweep, numbers))
    scale = f"scale: {request.scale}"
    if request.changed:
        scale += ", changed by --set"
    parts.append(scale)
    return DOT.join(part for part in parts if part)


def _seeds(sweep: Sweep, numbers: Table) -> str:
    """`3 seeds`, or `1-3 of 3 seeds` where rows have different numbers of complete trials."""
    wanted_seeds = count(len(sweep.seeds), "seed", "seeds")
    complete = [len(line.seeds) for line in numbers.lines if line.seeds]
    if set(complete) <= {len(sweep.seeds)}:
        return wanted_seeds
    return f"{paper_table.spread(complete)} of {wanted_seeds}"


def smaller(block: Block, sweep: Sweep) -> dict[str, list[str]]:
    """The differences from the paper, `hidden_size=128 (paper: 1000)`: under "" those of all rows,
    and under a label those of that row alone.

    A row's own difference from what all rows share is not listed if it is also in the paper.
    """
    paper = _rows.narrowed(_rows.get(block.sweep, _rows.PAPER), [row.label for row in block.rows])
    shared = _differences(sweep.base, paper.base)
    differences = {"": shared}
    paper_configs = {config.label: config for config in wanted(paper)}
    for config in wanted(replace(sweep, seeds=sweep.seeds[:1])):
        if not config.label:
            continue
        of_row = _differences(config, paper_configs[config.label])
        unshared = [difference for difference in of_row if difference not in shared]
        if unshared:
            differences[config.label] = unshared
    return differences


def _differences(config: TrialConfig, paper: TrialConfig) -> list[str]:
    ours = config.flat()
    papers = paper.flat()
    common = [key for key in ours if key in papers]  # each cell has settings of its own
    keys = [key for key in common if ours[key] != papers[key] and key != "seed"]
    return [f"{key.rpartition('.')[2]}={ours[key]} (paper: {papers[key]})" for key in keys]


def write(
    folder: Path,
    reproduction: Reproduction,
    readings: Collection[Reading],
    summary: dict[str, object],
) -> list[Path]:
    """Write the numbers as CSV and JSON, the figures, and a page of Markdown into `folder`. Equal
    numbers give equal bytes. Raises `HomeError` when the disk refuses."""
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
            files[-1].write_text(paper_table.to_csv(reading.table))
    files.append(folder / "numbers.json")
    files[-1].write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    if reproduction.draw is not None:
        files += reproduction.draw(list(readings), folder)
    pictures = [file.name for file in files if file.suffix == ".png"]
    files.append(folder / "page.md")
    files[-1].write_text(page.page(summary, reproduction.title, reproduction.notes, pictures))
    return files
