"""Figure 5: error curves on permuted sequential MNIST (spec section 8.3), of three of Table 2's
trials."""

from collections.abc import Sequence
from pathlib import Path

from sweeps.paper.reproductions import Block, Reading, Reproduction
from sweeps.paper.reproductions._shared import CLASSES, panel
from sweeps.paper.reproductions.table2 import THREE

EPOCHS = 150
METRICS = {"train": "train_error", "valid": "valid_error"}


def draw(readings: Sequence[Reading], folder: Path) -> list[Path]:
    """figure5.*"""
    from analysis import curves, style

    panels = [
        panel(reading, "Figure 5: permuted MNIST", "error rate", EPOCHS, METRICS)
        for reading in readings
    ]
    return style.save(lambda: curves.draw(panels), folder, "figure5")


REPRODUCTION = Reproduction(
    title="Figure 5: training and validation error on permuted sequential MNIST",
    blocks=(Block(title="Permuted sequential MNIST", sweep="table2", columns=CLASSES, rows=THREE),),
    draw=draw,
    notes=("The trials are Table 2's.",),
)
