"""Figure 6: how far gradients reach back through time, after one epoch (spec section 8.1).

Measured on the checkpoints of the trained rows, over 100 training batches like the paper's, or over
all of an epoch that has fewer. Kept as propagation-TRIAL.csv in the report folder of the trial's
run.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.paper.reproductions import Block, Reading, Reproduction, row
from sweeps.paper.reproductions._shared import CLASSES
from sweeps.pasting import in_home
from zoneout_core.errors import CheckpointError, RunError
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.paper.found_trials import FoundTrial
    from zoneout_core.training.propagation import Of

TITLES = {
    "carried": "Figure 6: gradients through time",
    "candidate": "Figure 6 as the code has it: of the candidates",
}


def measure(readings: Sequence[Reading], data: Path, say: Callable[[str], None]) -> None:
    """Measure every complete trial that has not been measured yet. Raises `RunError` if its
    checkpoint is gone."""
    lacking = [
        source
        for reading in readings
        for source in _complete(reading)
        if not _file(source).exists()
    ]
    if not lacking:
        return
    from zoneout_core import tasks
    from zoneout_core.training import checkpoint, propagation
    from zoneout_core.training.subnormals import TrainingThread

    base = lacking[0].config
    corpus = tasks.load_data(base.task, base.variant, data)
    for source in lacking:
        try:
            state = checkpoint.load(source.run.checkpoint(source.trial.trial))
        except CheckpointError as error:
            raise RunError(
                f"{error} Train it again with: sweep reproduce figure6 --fresh"
            ) from error
        if state is None:
            raise RunError(
                f"Figure 6 is measured on the trained parameters, but run {source.run.name} has no"
                f" checkpoint of trial {source.trial.trial} any more. Train it again, at the same"
                " --scale, with: "
                + in_home(source.run.folder.parent, "reproduce", "figure6", "--fresh")
            )
        say(f"Measuring the gradients of {source.config.label}, seed {source.config.seed}")
        with TrainingThread() as thread:
            shares = thread.run(
                propagation.shares, state, corpus, min(propagation.BATCHES, state.updates)
            )
        _write(_file(source), shares)


def _write(file: Path, shares: Mapping["Of", Mapping[str, Sequence[float]]]) -> None:
    """A line per kind of gradient, state and time step; floats are exact."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["of", "state", "step", "share"])
        for of, states in shares.items():
            for state, steps in states.items():
                writer.writerows([of, state, step, share] for step, share in enumerate(steps, 1))


def draw(readings: Sequence[Reading], folder: Path) -> list[Path]:
    """figure6.*, figure6_candidate.* and propagation.csv; nothing if no trial was measured."""
    import pandas as pd

    from analysis import propagation, style

    (reading,) = readings
    parts = [_read(source) for source in _complete(reading) if _file(source).exists()]
    if not parts:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.concat(parts, ignore_index=True)
    systems = {row.label: row.title for row in reading.block.rows}
    table_file = folder / "propagation.csv"
    frame.to_csv(table_file, index=False)
    files = [table_file]
    for of, title in TITLES.items():
        curves = propagation.compute(frame[frame["of"] == of], systems)
        if of == "carried":
            name = "figure6"
        else:
            name = f"figure6_{of}"
        files += style.save(
            partial(propagation.draw, curves, title, reading.subtitle), folder, name
        )
    return files


def _complete(reading: Reading) -> list["FoundTrial"]:
    return [source for source in reading.sources if source.trial.state is TrialState.COMPLETE]


def _file(source: "FoundTrial") -> Path:
    return source.run.report / f"propagation-{source.trial.trial:05d}.csv"


def _read(source: "FoundTrial") -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(_file(source)).assign(label=source.config.label, seed=source.config.seed)


REPRODUCTION = Reproduction(
    title="Figure 6: gradients through time, after one epoch",
    blocks=(
        Block(
            title="Permuted sequential MNIST, one epoch",
            sweep="figure6",
            columns=CLASSES,
            rows=(
                row("unregularized", "Unregularized LSTM"),
                row("dropout", "Naive dropout of cells, 0.5"),
                row("zoneout", "Zoneout of cells, 0.5"),
            ),
        ),
    ),
    draw=draw,
    measure=measure,
    notes=(
        (
            "For each t: the mean over examples of the norm of dL/dc_t (and dL/dh_t), as a share of"
            " the sum over t; masks drawn. The paper's expectation: dropout decays fastest towards"
            " early t, zoneout slowest."
        ),
    ),
)
