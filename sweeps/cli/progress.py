"""How a sweep looks while it runs: a bar for the whole, a table of the trials; on a pipe, a line per event instead."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sweeps.definition import Sweep
from sweeps.story import Story, TrialStory
from zoneout_core.records import OBJECTIVE, TrialState

if TYPE_CHECKING:
    from rich.console import RenderableType

LINES = 20
"""Trials shown at most: the running ones first, then those that ended last."""
REFRESH_SECONDS = 0.25
_COLOURS = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.INTERRUPTED: "magenta",
    TrialState.WAITING: "dim",
}


@contextmanager
def silent(story: Story, sweep: Sweep) -> Iterator[None]:
    """Show nothing."""
    yield


@contextmanager
def live(story: Story, sweep: Sweep) -> Iterator[None]:
    """Show `story` as it grows, on stderr."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if console.is_terminal:
        with Live(
            get_renderable=lambda: picture(story, sweep),
            console=console,
            refresh_per_second=1 / REFRESH_SECONDS,
            transient=True,
        ):
            yield
        console.print(picture(story, sweep))
        return
    over = threading.Event()
    thread = threading.Thread(target=_lines, args=(story, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def show(story: Story, sweep: Sweep, name: str) -> None:
    """Print the picture once, on stdout."""
    from rich.console import Console

    console = Console()
    console.print(f"{name}: {story.state}", highlight=False)
    console.print(picture(story, sweep))
    for warning in story.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False)


def picture(story: Story, sweep: Sweep) -> "RenderableType":
    """The whole as a bar with the time left, and a table of its trials."""
    from rich import box
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    trials = list(story.trials.values())
    done = sum(_epochs_done(trial, sweep) for trial in trials)
    whole = sweep.max_trials * sweep.base.epochs
    counts = ", ".join(f"{count} {state}" for state, count in sorted(story.counts.items()))
    heading = Table.grid(padding=(0, 1))
    heading.add_row(Text(sweep.name, "bold"), ProgressBar(whole, done, width=40), _text_of(story, done, whole), counts)
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("trial", *(key.rpartition(".")[2] for key in sweep.search_space.keys()), "epoch", "train", "valid"):
        table.add_column(column, justify="right")
    table.add_column("state")
    best = story.best
    for trial in _shown(trials):
        last = trial.records.get(trial.epoch)
        numbers = [f"{last.metrics[key]:.4f}" if last else "" for key in ("train_bpc", OBJECTIVE)]
        values = [str(trial.params.get(key, "")) for key in sweep.search_space.keys()]
        mark = " best" if best is trial else ""
        state = Text(f"{trial.state}{mark}", _COLOURS[trial.state])
        table.add_row(str(trial.trial), *values, f"{trial.epoch}/{sweep.base.epochs}", *numbers, state)
    return Group(heading, table)


def _epochs_done(trial: TrialStory, sweep: Sweep) -> int:
    return sweep.base.epochs if trial.state.finished else trial.epoch


def _text_of(story: Story, done: int, whole: int) -> str:
    began = story.driver["time"] if story.driver else time.time()
    elapsed = (story.closed["time"] if story.closed else time.time()) - began
    left = f", about {elapsed / done * (whole - done):.0f} s left" if 0 < done < whole and not story.closed else ""
    return f"{done}/{whole} epochs, {elapsed:.0f} s{left}"


def _shown(trials: list[TrialStory]) -> list[TrialStory]:
    running = [trial for trial in trials if not trial.state.finished]
    ended = sorted((t for t in trials if t.state.finished), key=lambda t: t.ended or 0.0, reverse=True)
    return sorted((running + ended)[:LINES], key=lambda trial: trial.trial)


def _lines(story: Story, over: threading.Event) -> None:
    """Print each new record and end, for logs."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    told: set[tuple[int, int]] = {(t.trial, epoch) for t in story.trials.values() for epoch in t.records}
    ended: set[int] = {t.trial for t in story.trials.values() if t.state.finished}
    while True:
        last_look = over.wait(REFRESH_SECONDS)
        for trial in list(story.trials.values()):
            for epoch, record in list(trial.records.items()):
                if (trial.trial, epoch) not in told:
                    told.add((trial.trial, epoch))
                    valid, train = record.metrics[OBJECTIVE], record.metrics["train_bpc"]
                    console.print(f"trial {trial.trial} epoch {epoch}: train {train:.4f}, valid {valid:.4f} bpc")
            if trial.state.finished and trial.trial not in ended:
                ended.add(trial.trial)
                console.print(f"trial {trial.trial} {trial.state}: {trial.reason}")
        if last_look:
            return
