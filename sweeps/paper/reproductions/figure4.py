"""Figure 4: learning curves on characters of Penn Treebank and on text8 (spec section 8.3).

The figure shows the first epochs of Table 1's trials.
"""

from collections.abc import Sequence
from pathlib import Path

from sweeps.paper.reproductions import Block, Reading, Reproduction
from sweeps.paper.reproductions._shared import CHARACTERS, panel, six

SHOWN = ("unregularized", "recurrent-dropout", "zoneout")
EPOCHS = {"table1_char": 30, "table1_text8": 40}
"""The paper's horizontal axes."""
METRICS = {"train": "train_bpc", "valid": "valid_chunked_bpc"}


def draw(readings: Sequence[Reading], folder: Path) -> list[Path]:
    """figure4.*: a panel for each task."""
    from analysis import curves, style

    panels = [
        panel(
            reading,
            f"Figure 4: {reading.block.title}",
            "bits per character",
            EPOCHS[reading.sweep.name],
            METRICS,
        )
        for reading in readings
    ]
    return style.save(lambda: curves.draw(panels), folder, "figure4")


def _block(title: str, sweep: str, task: str, dropout: str) -> Block:
    shown = tuple(row for row in six(task, dropout) if row.label in SHOWN)
    return Block(title=title, sweep=sweep, columns=CHARACTERS, rows=shown)


REPRODUCTION = Reproduction(
    title="Figure 4: training and validation curves",
    blocks=(
        _block("Penn Treebank, characters", "table1_char", "char_ptb", "0.25"),
        _block("text8", "table1_text8", "text8", "0.5"),
    ),
    draw=draw,
    notes=(
        "The trials are Table 1's. Training curves are taken with masks on, as the paper's are.",
    ),
)
