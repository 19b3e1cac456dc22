"""A run at one moment: its progress, its best trial, and a table of its trials."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces import Choice, Product, Range, Space, Switch
from sweeps.books.story import Story, TrialStory
from sweeps.cli import text
from sweeps.definition import Sweep
from zoneout_core.records import Metrics, TrialState

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text

_COLOURS = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.INTERRUPTED: "magenta",
    TrialState.WAITING: "dim",
}
_BAR_WIDTH = 60
_STATE_WIDTH = len("complete (best)")
_UNBOUNDED = 10_000
"""Characters; wider than any table."""


def picture(story: Story, sweep: Sweep, now: float, rows: int | None = None) -> "RenderableType":
    """The run at Unix time `now`: a progress bar, the best trial, and `table` with at most `rows`
    trials."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    trials = list(story.trials.values())
    best = story.best
    bar = Table.grid()  # the bar itself ends no line
    bar.add_row(ProgressBar(_all_epochs(trials, sweep), _done(trials), width=_BAR_WIDTH))
    lines: list[RenderableType] = [Text(pace(story, sweep, now)), bar, Text(counts(story, sweep))]
    lines += [Text(f"best: {best_of(best)}")] if best else []
    lines += [table(story, sweep, now, rows)] if story.trials else []
    return Group(*lines)


def table(story: Story, sweep: Sweep, now: float, rows: int | None = None) -> "RenderableType":
    """A row per trial, for at most `rows` of them (None = all). Says how many are left out.

    The best trial is kept first, then those that run, wait, or ended last.
    """
    trials = list(story.trials.values())
    best = story.best
    shown = _chosen(trials, best, rows)
    lines = [_line(trial, best, sweep, now, story) for trial in shown]
    return _FittingTable(_columns(sweep), lines, len(trials) - len(shown))


def pace(story: Story, sweep: Sweep, now: float) -> str:
    """`18 of 27 epochs, 3 min 20 s, about 1 min 40 s left`. Counts the time of the last driver
    alone."""
    trials = list(story.trials.values())
    done, all_epochs = _done(trials), _all_epochs(trials, sweep)
    spent = elapsed(story, now)
    parts = [f"{done} of {all_epochs} epochs"]
    if spent is not None:
        parts.append(text.duration(spent))
    if (
        spent is not None
        and story.driver is not None
        and story.closed is None
        and done < all_epochs
    ):
        began = story.driver.time
        records = [record for trial in trials for record in list(trial.records.values())]
        measured_epochs = sum(record.time >= began for record in records)
        if measured_epochs:
            left = spent / measured_epochs * (all_epochs - done)
            parts.append(f"about {text.duration(left)} left")
        elif not any(trial.state is TrialState.RUNNING for trial in trials):
            parts.append("starting")
    return ", ".join(parts)


def counts(story: Story, sweep: Sweep) -> str:
    """`9 of 36 trials: 4 running, 5 complete`"""
    states = ", ".join(f"{count} {state}" for state, count in _ordered(story))
    summary = f"{len(story.trials)} of {sweep.max_trials} trials"
    if states:
        summary += f": {states}"
    if sweep.cut:
        summary += f" ({sweep.cut})"
    return summary


def best_of(trial: TrialStory) -> str:
    """`trial 3, epoch 2: 1.3620 bpc (z_cells=0.25, z_states=0)`"""
    record = trial.best
    assert record is not None, "the best trial has a record"
    metric = f"{text.number(trial.value(record))} {trial.metrics.unit}"
    return f"trial {trial.trial}, epoch {record.epoch}: {metric} ({text.assignment(trial.params)})"


def measured(metrics: Metrics) -> dict[str, str]:
    """The metrics that are shown of a record, by heading: first the one of training, last the
    objective.

    A heading without a unit (`train`, `valid`) has the objective's.
    """
    same_unit = f"train_{metrics.unit}"
    train = [name for name in metrics.epoch if name.startswith("train_")][:1]
    if same_unit in metrics.epoch:
        train = [same_unit]
    shown = dict.fromkeys([*train, metrics.objective])
    return {_heading(name, metrics.unit): name for name in shown}


def elapsed(story: Story, now: float) -> float | None:
    """Seconds that the last driver has driven, until `now` or until it left; None before the first
    driver."""
    if story.driver is None:
        return None
    if story.closed:
        until = story.closed.time
    else:
        until = max(now, story.latest or now)
    return max(0.0, until - story.driver.time)


def _heading(name: str, unit: str) -> str:
    split, _, rest = name.partition("_")
    if rest.endswith(unit):
        return split
    return f"{split} {rest}"


def _ordered(story: Story) -> list[tuple[TrialState, int]]:
    counts_by_state = story.counts
    return [(state, counts_by_state[state]) for state in TrialState if counts_by_state[state]]


def _done(trials: Iterable[TrialStory]) -> int:
    """Epochs that need no more training, those included that an early end saved."""
    return sum(trial.epochs if trial.state.finished else trial.epoch for trial in trials)


def _all_epochs(trials: list[TrialStory], sweep: Sweep) -> int:
    """Epochs of all trials. Trials that nobody has asked for yet count with the base's epochs."""
    return (
        sum(trial.epochs for trial in trials)
        + max(0, sweep.max_trials - len(trials)) * sweep.base.epochs
    )


def _chosen(
    trials: list[TrialStory], best: TrialStory | None, rows: int | None
) -> list[TrialStory]:
    if rows is None or len(trials) <= rows:
        return sorted(trials, key=lambda trial: trial.trial)

    def rank(trial: TrialStory) -> tuple[bool, bool, bool, float, int]:
        waits = trial.state is not TrialState.RUNNING
        return trial is not best, waits, trial.state.finished, -(trial.ended or 0.0), trial.trial

    return sorted(sorted(trials, key=rank)[:rows], key=lambda trial: trial.trial)


@dataclass(frozen=True)
class _Column:
    heading: str
    drop: int
    """A narrow terminal leaves columns out in this order; 0 = never."""
    wraps: bool = False


@dataclass(frozen=True)
class _FittingTable:
    """A table that shows as many of its columns as fit, and names the others.

    It always shows a trial's number, its objective, and its state with the mark of the best.
    """

    columns: list[_Column]
    lines: "list[list[Text]]"
    more: int
    """How many trials are not among the lines."""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        dropped: list[_Column] = []
        order = sorted(
            (column for column in self.columns if column.drop), key=lambda column: column.drop
        )
        while (
            len(dropped) < len(order) and self._width(console, options, dropped) > options.max_width
        ):
            dropped.append(order[len(dropped)])
        yield self._table(dropped)
        left_out = ", ".join(column.heading for column in self.columns if column in dropped)
        if self.more:
            yield Text(f" and {self.more} more", "dim")
        if left_out:
            yield Text(f" not shown, for lack of room: {left_out}", "dim")

    def _width(
        self, console: "Console", options: "ConsoleOptions", dropped: "list[_Column]"
    ) -> int:
        """The width, in characters, below which something would be cut off."""
        return console.measure(
            self._table(dropped), options=options.update(max_width=_UNBOUNDED)
        ).minimum

    def _table(self, dropped: "list[_Column]") -> "Table":
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        kept = [number for number, column in enumerate(self.columns) if column not in dropped]
        for column in (self.columns[number] for number in kept[:-1]):
            table.add_column(column.heading, justify="right", no_wrap=not column.wraps)
        table.add_column(self.columns[-1].heading, overflow="fold", min_width=_STATE_WIDTH)
        for line in self.lines:
            table.add_row(*(line[number] for number in kept))
        return table


def _columns(sweep: Sweep) -> list[_Column]:
    """The columns of the table of trials.

    A narrow terminal drops the time first, then the training metrics, then the keys from last to
    first. The first key, which may be a row's label, stays longer than the epoch.
    """
    keys = list(sweep.search_space.always())
    *train, _ = shown = list(measured(sweep.metrics))
    if set(_varied(sweep.search_space)) - set(keys):
        further = [_Column("further", len(train) + 2, wraps=True)]
    else:
        further = []
    last = len(train) + len(keys) + 2
    return [
        _Column("trial", 0),
        *(
            _Column(text.short(key), last - index if index else last + 1)
            for index, key in enumerate(keys)
        ),
        *further,
        _Column("epoch", last),
        *(
            _Column(heading, index + 2 if heading in train else 0)
            for index, heading in enumerate(shown)
        ),
        _Column("time", 1),
        _Column("state", 0),
    ]


def _line(
    trial: TrialStory, best: TrialStory | None, sweep: Sweep, now: float, story: Story
) -> "list[Text]":
    """The cells of a trial, one for each of `_columns`."""
    from rich.text import Text

    keys = list(sweep.search_space.always())
    varied = set(_varied(sweep.search_space)) - set(keys)
    last = trial.records.get(trial.epoch)
    values = [text.value(trial.params[key]) if key in trial.params else "" for key in keys]
    if varied:  # what only some trials have
        values.append(
            text.assignment({key: value for key, value in trial.params.items() if key in varied})
        )
    numbers = [
        text.number(last.metrics[name]) if last else "" for name in measured(sweep.metrics).values()
    ]
    state = Text(str(trial.state), _COLOURS[trial.state])
    if trial is best:
        state.append(" (best)", "bold green")
    elif trial.state is TrialState.FAILED:
        state.append(f": {trial.reason}")
    columns = [
        str(trial.trial),
        *values,
        f"{trial.epoch}/{trial.epochs}",
        *numbers,
        _time(trial, story, now),
    ]
    return [*map(Text, columns), state]


def _varied(space: Space) -> Iterator[str]:
    """Keys that may differ between trials that agree in every `Switch`. Settings that only make up
    a row are not among them."""
    match space:
        case Choice() if len(space.values) > 1:
            yield space.key
        case Range():
            yield space.key
        case Product():
            yield from (key for part in space.parts for key in _varied(part))
        case Switch():
            yield from (key for _, inner in space.cases for key in _varied(inner))


def _time(trial: TrialStory, story: Story, now: float) -> str:
    """How long a running trial has run under this driver, or how long an ended one took."""
    if trial.started is None or story.driver is None:
        return ""
    if trial.state is TrialState.RUNNING:
        return text.clock(now - max(trial.started, story.driver.time))
    if trial.ended is not None:
        return text.clock(trial.ended - trial.started)
    return ""
