"""How a run looks at one moment: how far it is, its best trial, and a table of its trials."""

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
"""Columns that no table has."""


def picture(story: Story, sweep: Sweep, now: float, rows: int | None = None) -> "RenderableType":
    """The run at Unix time `now`: a bar for the whole, its best trial, and `table` with at most
    `rows` trials."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    trials, best = list(story.trials.values()), story.best
    bar = Table.grid()  # a bar alone ends no line
    bar.add_row(ProgressBar(_all_epochs(trials, sweep), _done(trials), width=_BAR_WIDTH))
    lines: list[RenderableType] = [Text(pace(story, sweep, now)), bar, Text(counts(story, sweep))]
    lines += [Text(f"best: {best_of(best)}")] if best else []
    lines += [table(story, sweep, now, rows)] if story.trials else []
    return Group(*lines)


def table(story: Story, sweep: Sweep, now: float, rows: int | None = None) -> "RenderableType":
    """A row per trial, for at most `rows` of them (all, unless given). What is left out is told.

    The best one comes first, then those that run, then those that wait, then those that ended last.
    """
    trials, best = list(story.trials.values()), story.best
    shown = _chosen(trials, best, rows)
    columns, lines = _columns(sweep), [_line(trial, best, sweep, now, story) for trial in shown]
    return _Fitting(columns, lines, len(trials) - len(shown))


def pace(story: Story, sweep: Sweep, now: float) -> str:
    """`18 of 27 epochs, 3 min 20 s, about 1 min 40 s left`; the time is that of the last driver."""
    trials = list(story.trials.values())
    done, all_epochs = _done(trials), _all_epochs(trials, sweep)
    spent = elapsed(story, now)
    said = [f"{done} of {all_epochs} epochs"]
    if spent is not None:
        said.append(text.duration(spent))
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
            said.append(f"about {text.duration(left)} left")
        elif not any(trial.state is TrialState.RUNNING for trial in trials):
            said.append("starting")
    return ", ".join(said)


def counts(story: Story, sweep: Sweep) -> str:
    """`9 of 36 trials: 4 running, 5 complete`"""
    states = ", ".join(f"{count} {state}" for state, count in _ordered(story))
    summary = f"{len(story.trials)} of {sweep.max_trials} trials" + (
        f": {states}" if states else ""
    )
    return summary + (f" ({sweep.cut})" if sweep.cut else "")


def best_of(trial: TrialStory) -> str:
    """`trial 3, epoch 2: 1.3620 bpc (z_cells=0.25, z_states=0)`"""
    record = trial.best
    assert record is not None, "the best trial has a record"
    metric = f"{text.number(trial.value(record))} {trial.metrics.unit}"
    return f"trial {trial.trial}, epoch {record.epoch}: {metric} ({text.assignment(trial.params)})"


def measured(metrics: Metrics) -> dict[str, str]:
    """What is shown of a record: names of metrics by heading. The last is the objective, the first
    what training says.

    A heading without a unit (`train`, `valid`) has the objective's.
    """
    same, others = (
        f"train_{metrics.unit}",
        [name for name in metrics.epoch if name.startswith("train_")],
    )
    if same in others:
        train = [same]
    else:
        train = others[:1]
    shown = dict.fromkeys([*train, metrics.objective])
    return {_heading(name, metrics.unit): name for name in shown}


def elapsed(story: Story, now: float) -> float | None:
    """Seconds that the last driver has driven, up to `now` or until it left; None before any."""
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
    there = story.counts
    return [(state, there[state]) for state in TrialState if there[state]]


def _done(trials: Iterable[TrialStory]) -> int:
    """Epochs that need no training any more: those of a trial that ended early are saved."""
    return sum(trial.epochs if trial.state.finished else trial.epoch for trial in trials)


def _all_epochs(trials: list[TrialStory], sweep: Sweep) -> int:
    """Epochs of all trials; those that were not asked for yet are taken to have as many as the base
    has."""
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
    """Where the terminal is narrow, columns are left out in this order; 0 = never."""
    wraps: bool = False


@dataclass(frozen=True)
class _Fitting:
    """A table that shows as many of its columns as the width has room for, and says which it leaves
    out.

    A trial's number, its objective and its state, with the mark of the best, are always there.
    """

    columns: list[_Column]
    lines: "list[list[Text]]"
    more: int
    """Trials that are not among the lines."""

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
        """Columns of the terminal below which something would be cut off."""
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
    """Of the table of trials. First goes the time, then what training says, then keys from the last
    on; of them the first, which may be a row's label, stays longer than the epoch.
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
            _Column(text.short(key), last - place if place else last + 1)
            for place, key in enumerate(keys)
        ),
        *further,
        _Column("epoch", last),
        *(
            _Column(heading, place + 2 if heading in train else 0)
            for place, heading in enumerate(shown)
        ),
        _Column("time", 1),
        _Column("state", 0),
    ]


def _line(
    trial: TrialStory, best: TrialStory | None, sweep: Sweep, now: float, story: Story
) -> "list[Text]":
    """What `_columns` has of a trial."""
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
    """Keys that may differ between trials that are alike in every `Switch`: no setting that only
    makes up a row."""
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
    """How long a running trial has run under this driver, or how long an ended one was there
    for."""
    if trial.started is None or story.driver is None:
        return ""
    if trial.state is TrialState.RUNNING:
        return text.clock(now - max(trial.started, story.driver.time))
    if trial.ended is not None:
        return text.clock(trial.ended - trial.started)
    return ""
