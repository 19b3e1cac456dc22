"""What a picture of trials says of them in words. Only what holds for all trials is said: never
what some differ in."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from analysis.plane import PAPER_BEST, PAPER_BPC, Plane
from analysis.points import Point
from zoneout_core.records import TrialState

STATES = (
    TrialState.PRUNED,
    TrialState.FAILED,
    TrialState.INTERRUPTED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
"""Of trials without a number, as they are told; where those of a cell differ, the first is its
hatching."""
DOT = "  ·  "
"""Between what is said in one line."""


class Caption(NamedTuple):
    """What a reader has to know to read the figure; None = trials differ in it, or have none of
    it."""

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
    """What else has to be said: that a budget cut the grid."""

    @property
    def model(self) -> str:
        """`LSTM, H = 1000`, `2 × GRU, H = 100`"""
        return network(self.cell, self.layers, self.hidden)


def network(cell: str | None, layers: int | None, hidden: int | None) -> str:
    """`2 × LSTM, H = 1000`, as far as it is the same everywhere."""
    if layers is not None and layers > 1 and cell:
        number = f"{layers} × "
    else:
        number = ""
    if cell:
        kind = [f"{number}{cell.upper().replace('_', '-')}"]
    else:
        kind = []
    return ", ".join(kind + ([f"H = {hidden}"] if hidden is not None else []))


def agreed(values: Iterable[Any]) -> Any:
    """The one value that all of these are; None where they differ."""
    given = set(values)
    if len(given) == 1:
        return given.pop()
    return None


def short(key: str) -> str:
    """A dotted key without its section; names are unique over the sections."""
    return key.rpartition(".")[2]


def value(given: Any) -> str:
    """A hyperparameter as a reader writes it."""
    if isinstance(given, float):
        return f"{given:g}"
    return str(given)


def assignment(at: Mapping[str, Any]) -> str:
    """`z_cells = 0.5, z_states = 0.05`"""
    return ", ".join(f"{short(key)} = {value(given)}" for key, given in at.items())


def count(number: int, one: str, many: str) -> str:
    """`1 seed`, `3 seeds`"""
    return f"{number} {one if number == 1 else many}"


def sentences(plane: Plane, caption: Caption) -> list[str]:
    """What stands below the title: what was trained, over how much each cell is a mean, and what
    else must be known."""
    if caption.epochs is None:
        epochs = None
    else:
        epochs = count(caption.epochs, "epoch", "epochs")
    told = [caption.task, caption.model, epochs, _held(plane), _seeds(plane), _trials(plane)]
    lines = [DOT.join(one for one in told if one)]
    if plane.over:
        tried = sorted({number for panel in plane.panels for number in panel.combinations.values()})
        each_says = "as many combinations as it says"
        if len(tried) == 1:
            number_of = count(tried[0], "combination", "combinations")
        else:
            number_of = each_says
        keys = ", ".join(short(key) for key in plane.over)
        lines.append(
            f"Each cell is the best over {keys}, of {number_of}; heatmap.csv has all of them."
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
    at = {key: point.at[key] for key in (*axes, *plane.keys) if key in point.at}
    differ = any(len(one.values) != len(point.values) for one in plane.points if one.values)
    if differ or len(point.values) != point.seeds:
        n = f" ({seeds(point)})"
    else:
        n = ""
    return f"best cell: {number(point.mean, 4)} at {assignment(at)}{n}"


def papers_best(plane: Plane) -> str:
    """Which cell is the paper's best, and how its number was made."""
    at = dict(zip((plane.axes.x_key, plane.axes.y_key), PAPER_BEST, strict=True))
    return f"paper's best: {PAPER_BPC:g} at {assignment(at)}; Penn Treebank, H = 1000"


def seeds(point: Point) -> str:
    """`n = 3`, or `n = 1 of 3` where others did not complete or were not run."""
    whole = len(point.values) == point.seeds
    return f"n = {len(point.values)}" + ("" if whole else f" of {point.seeds}")


def number(given: float, digits: int) -> str:
    """A metric with so many decimals, or a small one (an error rate, a cost) with so many
    digits."""
    if abs(given) >= 0.1:
        return f"{given:.{digits}f}"
    return f"{given:.{digits}g}"


def _held(plane: Plane) -> str:
    """Searched keys that are the same everywhere, unless the model's words or the epochs say it."""
    said = ("model.cell", "model.num_layers", "model.hidden_size", "epochs")
    return assignment(
        {key: given for key, given in plane.held.items() if key not in said and given is not None}
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
    done = count(plane.trials.get(TrialState.COMPLETE, 0), "complete trial", "complete trials")
    lost = [f"{plane.trials[state]} {state}" for state in STATES if plane.trials.get(state)]
    return ", ".join([done, *lost])
