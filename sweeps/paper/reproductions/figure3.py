"""Figure 3: validation bits per character over z_cells and z_states, and of six systems (spec
section 8.3)."""

from collections.abc import Sequence
from pathlib import Path

from sweeps.paper.reproductions import Block, Reading, Reproduction
from sweeps.paper.reproductions._shared import CHARACTERS, six
from zoneout_core.records import TrialState

METRIC = CHARACTERS[0].metric


def draw(readings: Sequence[Reading], folder: Path) -> list[Path]:
    """bars.*, and heatmap.* if a trial of the plane is complete."""
    files = []
    for reading in readings:
        if reading.block.rows:
            files += _bars(reading, folder)
        else:
            files += _plane(reading, folder)
    return files


def _bars(reading: Reading, folder: Path) -> list[Path]:
    from analysis import bars, style

    numbers = bars.compute(reading.table, METRIC)
    label = f"{reading.sweep.metrics.label} (lower is better)"
    return style.save(
        lambda: bars.draw(numbers, "Figure 3 (right): six systems", reading.subtitle, label),
        folder,
        "bars",
    )


def _plane(reading: Reading, folder: Path) -> list[Path]:
    from analysis import report
    from sweeps.report import caption, searched

    sweep = reading.sweep
    trials = reading.trials
    if not any(trials["state"] == TrialState.COMPLETE):
        return []
    words = caption(f"Figure 3 (left), scale: {reading.table.scale}", sweep, trials)
    return report.write(trials, folder, words, sweep.metrics.objective, searched(sweep))


REPRODUCTION = Reproduction(
    title="Figure 3: zoneout over z_cells and z_states, and six systems",
    blocks=(
        Block(title="Left: the plane of z_cells and z_states", sweep="figure3"),
        Block(
            title="Right: six systems, as in Table 1",
            sweep="table1_char",
            columns=CHARACTERS[:1],
            rows=six("char_ptb", "0.25"),
        ),
    ),
    draw=draw,
    notes=(
        (
            "The paper does not print the plane's values, nor which ones it tried; 36 of 0 to 0.75"
            " are ours."
        ),
    ),
)
