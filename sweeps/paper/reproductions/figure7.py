"""Figure 7: static identity connections beside zoneout and the unregularized LSTM (spec section
8.2)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweeps.paper.reproductions import Block, Reading, Reproduction, row
from sweeps.paper.reproductions._shared import CHARACTERS, panel, six

EPOCHS = 110
METRICS = {"train": "train_bpc", "valid": "valid_chunked_bpc"}


def draw(readings: Sequence[Reading], folder: Path) -> list[Path]:
    """figure7.*: all systems in one panel."""
    import pandas as pd

    from analysis import curves, style

    systems = tuple(row for reading in readings for row in reading.block.rows)
    merged = replace(
        readings[0],
        block=replace(readings[0].block, rows=systems),
        curves=pd.concat([reading.curves for reading in readings], ignore_index=True),
    )
    systems_panel = panel(merged, "Figure 7: static masks", "bits per character", EPOCHS, METRICS)
    return style.save(lambda: curves.draw([systems_panel]), folder, "figure7")


REPRODUCTION = Reproduction(
    title="Figure 7: static identity connections",
    blocks=(
        Block(
            title="Beside them, as in Table 1",
            sweep="table1_char",
            columns=CHARACTERS,
            rows=tuple(
                row for row in six("char_ptb", "0.25") if row.label in ("unregularized", "zoneout")
            ),
        ),
        Block(
            title="Static masks, evaluated in three ways",
            sweep="figure7",
            columns=CHARACTERS,
            rows=(
                row("static-same", "Static, same masks"),
                row("static-code", "Static, other masks", note="what the paper's code does"),
                row("static-expectation", "Static, expectation"),
            ),
        ),
    ),
    draw=draw,
    notes=(
        (
            "The paper prints no number of static masks: slightly less training error than zoneout,"
            " worse than none."
        ),
    ),
)
