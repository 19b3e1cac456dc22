"""The words around a picture of trials. They say only what holds for all of the trials."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from analysis.plane import PAPER_BEST, PAPER_BPC, Plane
from analysis.points import Point
from zoneout_core.records import TrialState

Value = TypeVar("Value")
STATES = (
    TrialState.PRUNED,
    TrialState.FAILED,
    TrialState.INTERRUPTED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
"""The states of trials without a number, in the order of their listing. A cell is hatched by the
first that it has."""
DOT = "  ·  "
"""Separates the parts of a line."""


class Caption(NamedTuple):
    """What a reader has to know about the trials of a figure. None where they differ, or where it
    does not apply."""

    sweep: str
    task: str
    cell: str | None
    """A file name of `zoneout_core.cells`."""
    layers: int | None
    hidden: int | None
    """H"""
    epochs: int | None
    metric: str
    """What the numbers are, in words; lower is better."""
    note: str = ""
    """A further remark, such as that a budget cut the grid."""

    @property
    def model(self) -> str:
        """`LSTM, H = 1000`, `2 × GRU, H = 100`"""
        return network(self.cell, self.layers, self.hidden)


def network(cell: str | None, layers: int | None, hidden: int | None) -> str:
    """`2 × LSTM, H = 1000`; what differs between trials is None and left out."""
    parts = []
    if cell:
        name = cell.upper().replace("_", "-")
        if layers is not None and layers > 1:
            name = f"{layers} × {name}"
        parts.append(name)
    if hidden is not None:
        parts.append(f"H = {hidden}")
    return ", ".join(parts)


def agreed(values: Iterable[Value]) -> Value | None:
    """The value that all of these share; None where they differ."""
    distinct = set(values)
    if len(distinct) == 1:
        return distinct.pop()
    return None


def short(key: str) -> str:
    """A dotted key without its section."""
    return key.rpartition(".")[2]


def short_names(keys: Iterable[str]) -> list[str]:
    """Each key without its section; with the last part of it where two would read the same."""
    keys = list(keys)
    names = [short(key) for key in keys]
    if len(set(names)) < len(names):
        return [".".join(key.split(".")[-2:]) for key in keys]
    return names


def value(setting: object) -> str:
    """A hyperparameter's value as a person would write it: `0.5`, not `0.500000`."""
    if isinstance(setting, float):
        return f"{setting:g}"
    return str(setting)


def assignment(params: Mapping[str, object]) -> str:
    """`z_cells = 0.5, z_states = 0.05`"""
    pairs = zip(short_names(params), params.values(), strict=True)
    return ", ".join(f"{name} = {value(setting)}" for name, setting in pairs)


def count(number: int, singular: str, plural: str) -> str:
    """`1 seed`, `3 seeds`"""
    return f"{number} {singular if number == 1 else plural}"


def sentences(plane: Plane, caption: Caption) -> list[str]:
    """The lines below the title: what was trained, how many seeds each cell averages, and
    remarks."""
    if caption.epochs is None:
        epochs = None
    else:
        epochs = count(caption.epochs, "epoch", "epochs")
    parts = [caption.task, caption.model, epochs, _held(plane), _seeds(plane), _trials(plane)]
    lines = [DOT.join(part for part in parts if part)]
    if plane.over:
        tries = sorted({number for panel in plane.panels for number in panel.combinations.values()})
        if len(tries) == 1:
            combinations = count(tries[0], "combination", "combinations")
        else:
            combinations = "as many combinations as it says"
        keys = ", ".join(short_names(plane.over))
        lines.append(
            f"Each cell is the best over {keys}, of {combinations}; heatmap.csv has all of them."
        )
    if plane.repeats:
        lines.append(
            "Drawn again with the same seed, and counted once:"
            f" {count(plane.repeats, 'trial', 'trials')}."
        )
    return lines + ([caption.note] if caption.note else [])


def best(plane: Plane) -> str:
    """`best cell: 1.3620 at z_cells = 0.5, z_states = 0.05`, with every searched key."""
    assert plane.best is not None, "there is a best cell"
    panel, cell = plane.best
    point = plane.panels[panel].cells[cell]
    axes = (plane.axes.x_key, plane.axes.y_key)
    params = {key: point.params[key] for key in (*axes, *plane.keys) if key in point.params}
    differ = any(len(other.values) != len(point.values) for other in plane.points if other.values)
    if differ or len(point.values) != point.seeds:
        n = f" ({seeds(point)})"
    else:
        n = ""
    return f"best cell: {number(point.mean, 4)} at {assignment(params)}{n}"


def papers_best(plane: Plane) -> str:
    """Which cell is the paper's best, and on which data and size."""
    params = dict(zip((plane.axes.x_key, plane.axes.y_key), PAPER_BEST, strict=True))
    return f"paper's best: {PAPER_BPC:g} at {assignment(params)}; Penn Treebank, H = 1000"


def seeds(point: Point) -> str:
    """`n = 3`, or `n = 1 of 3` where others did not complete or were not run."""
    complete = len(point.values) == point.seeds
    return f"n = {len(point.values)}" + ("" if complete else f" of {point.seeds}")


def number(metric: float, digits: int) -> str:
    """A metric with this many decimals; below 0.1 (an error rate, a cost) with this many
    significant digits."""
    if abs(metric) >= 0.1:
        return f"{metric:.{digits}f}"
    return f"{metric:.{digits}g}"


def _held(plane: Plane) -> str:
    """Searched keys with the same value everywhere, except those that the line has anyway."""
    stated = ("model.cell", "model.num_layers", "model.hidden_size", "epochs")
    return assignment(
        {
            key: setting
            for key, setting in plane.held.items()
            if key not in stated and setting is not None
        }
    )


def _seeds(plane: Plane) -> str:
    counts = sorted({len(point.values) for point in plane.points if point.values})
    if not counts:
        return ""
    if counts[-1] == 1:
        return "1 seed"
    if len(counts) == 1:
        return f"means over {counts[-1]} seeds"
    return f"means over {counts[0]} to {counts[-1]} seeds"


def _trials(plane: Plane) -> str:
    """`8 complete trials, 1 failed`"""
    complete = count(plane.trials.get(TrialState.COMPLETE, 0), "complete trial", "complete trials")
    lost = [f"{plane.trials[state]} {state}" for state in STATES if plane.trials.get(state)]
    return ", ".join([complete, *lost])
