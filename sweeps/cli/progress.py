"""The progress of a sweep while it runs: a live picture on a terminal, a line per event anywhere
else."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sweeps.books.story import Story
from sweeps.cli import text
from sweeps.cli.picture import measured, picture
from sweeps.definition import Sweep

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH_SECONDS = 0.25
_AROUND_THE_TABLE = 12
"""Lines of the picture above and below the rows of trials, and of what is printed below it."""
_FEWEST_ROWS = 3


@contextmanager
def silent(story: Story, sweep: Sweep) -> Iterator[None]:
    """Show nothing."""
    yield


@contextmanager
def live(story: Story, sweep: Sweep) -> Iterator[None]:
    """Show `story` as it grows, on stderr."""
    console = text.console(stderr=True)
    with _drawn(story, sweep, console) if console.is_terminal else _printed(story, console):
        yield


@contextmanager
def _drawn(story: Story, sweep: Sweep, console: "Console") -> Iterator[None]:
    from rich.live import Live

    def now() -> "RenderableType":
        return picture(
            story, sweep, time.time(), max(_FEWEST_ROWS, console.height - _AROUND_THE_TABLE)
        )

    with Live(
        get_renderable=now, console=console, refresh_per_second=1 / REFRESH_SECONDS, transient=True
    ):
        console.show_cursor()  # however this process ends, the terminal keeps its cursor
        yield


@contextmanager
def _printed(story: Story, console: "Console") -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=_lines, args=(story, over, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _lines(story: Story, over: threading.Event, console: "Console") -> None:
    """Print each new trial, record and end, once. What the story had before is not printed
    again."""
    begun: set[int] = set()
    trials = list(story.trials.values())
    printed = {(trial.trial, epoch) for trial in trials for epoch in list(trial.records)}
    ended = {trial.trial for trial in trials if trial.state.finished}
    while True:
        last_look = over.wait(REFRESH_SECONDS)
        for trial in list(story.trials.values()):
            name = f"trial {trial.trial}"
            if trial.placement and trial.trial not in begun | ended:
                begun.add(trial.trial)
                place = trial.placement
                where = f"{place.implementation} on {place.device} of {place.host}"
                console.print(
                    f"{name} runs: {text.assignment(trial.params)} ({where})", soft_wrap=True
                )
            for epoch, record in list(trial.records.items()):
                if (trial.trial, epoch) not in printed:
                    printed.add((trial.trial, epoch))
                    shown = measured(trial.metrics).items()
                    numbers = ", ".join(
                        f"{heading} {text.number(record.metrics[key])}" for heading, key in shown
                    )
                    console.print(
                        f"{name} epoch {epoch}: {numbers} {trial.metrics.unit}", soft_wrap=True
                    )
            if trial.state.finished and trial.trial not in ended:
                ended.add(trial.trial)
                console.print(f"{name} {trial.state}: {trial.reason}", soft_wrap=True)
        if last_look:
            return
