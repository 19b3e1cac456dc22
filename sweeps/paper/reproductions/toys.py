"""The two toys of the paper's code, for which no numbers were published (spec sections 6, 7)."""

from collections.abc import Sequence
from pathlib import Path

from analysis.paper_table import Column
from sweeps.paper.reproductions import Block, Reading, Reproduction, row
from sweeps.paper.reproductions._shared import panel

ADDITION = (
    Column(
        title="Difficulty",
        metric="difficulty",
        protocol="most digits that it got to: from 2 to 5",
        digits=2,
    ),
    Column(
        title="Error",
        metric="valid_error",
        protocol="share of sums with a wrong symbol, greedily decoded",
    ),
)
CONSISTENCY = (
    Column(
        title="Cost",
        metric="train_cost",
        protocol="squared distance after ten steps, of a batch of 32",
        digits=4,
    ),
    Column(
        title="|W-I|",
        metric="distance_plus",
        protocol="Frobenius norm; below 0.01 is a success with zoneout",
        digits=4,
    ),
    Column(
        title="|W+I|",
        metric="distance_minus",
        protocol="Frobenius norm; below 0.01 is right without zoneout",
        digits=4,
    ),
)


def draw(readings: Sequence[Reading], folder: Path) -> list[Path]:
    """addition.*: error and difficulty by epoch. consistency.*: cost, and the diagonal of W.

    addition_reached.csv: the first epoch of each difficulty that a seed got to.
    """
    files = []
    for reading in readings:
        files += _draw(reading, folder)
    for reading in readings:
        if reading.sweep.name == "addition":
            files.append(_reached(reading, folder))
    return files


def _reached(reading: Reading, folder: Path) -> Path:
    file = folder / "addition_reached.csv"
    keys = ["label", "seed", "difficulty"]
    reached = (
        reading.curves.reindex(columns=[*keys, "epoch"])
        .groupby(keys, sort=True, as_index=False)["epoch"]
        .min()
    )
    reached.to_csv(file, index=False)
    return file


def _draw(reading: Reading, folder: Path) -> list[Path]:
    from analysis import curves, style

    epochs = reading.sweep.base.epochs
    if reading.sweep.name == "addition":
        difficulty = {"difficulty": "difficulty"}
        panels = [
            panel(
                reading,
                "Addition: error",
                "share of sums with an error",
                epochs,
                {"error": "valid_error"},
                (0, 1),
            ),
            panel(
                reading,
                "Addition: difficulty",
                "most digits of a number",
                epochs,
                difficulty,
                (2, 5),
            ),
        ]
    else:
        w = {"w_00": "w_00", "w_11": "w_11"}
        panels = [
            panel(reading, "Semantic consistency: cost", "cost", epochs, {"cost": "train_cost"}),
            panel(reading, "Semantic consistency: W", "diagonal of W", epochs, w),
        ]
    return style.save(lambda: curves.draw(panels), folder, reading.sweep.name)


REPRODUCTION = Reproduction(
    title="Toys: addition, and semantic consistency",
    blocks=(
        Block(
            title="Addition with a curriculum",
            sweep="addition",
            columns=ADDITION,
            rows=(
                row("unregularized", "Unregularized LSTM"),
                row(
                    "zoneout-script",
                    "Zoneout 0.05 / 0",
                    note="what the script does whatever its flags say",
                ),
                row("zoneout", "Zoneout 0.5 / 0.05", note="what the README says"),
            ),
        ),
        Block(
            title="Semantic consistency",
            sweep="consistency",
            columns=CONSISTENCY,
            rows=(row("unregularized", "Unregularized"), row("zoneout", "Zoneout 0.1")),
        ),
    ),
    draw=draw,
    notes=(
        (
            "No numbers were published. Without zoneout W = -I solves it exactly; with zoneout only"
            " W = +I does."
        ),
    ),
)
