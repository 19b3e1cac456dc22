import csv
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import report
from analysis.heatmap import Caption, draw
from analysis.plane import X, Y, plane
from zoneout_core.records import CHARACTERS, CLASSES

CAPTION = Caption(
    sweep="figure3", task="char_ptb", cell="lstm", layers=1, hidden=1000, epochs=30, metric=CHARACTERS.label
)
BPC = CHARACTERS.objective


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        (0.0, 0.0, "complete", 1.466),
        (0.5, 0.0, "complete", 0.1 + 0.2),
        (0.0, 0.05, "failed", float("nan")),
        (0.5, 0.05, "complete", 1.362),
        (0.75, 0.05, "complete", 9.0),
        (0.75, 0.05, "pruned", float("nan")),
    ]
    return pd.DataFrame(rows, columns=[X, Y, "state", "valid_chunked_bpc"])


def words(figure: Figure) -> list[str]:
    """Everything that the figure says."""
    axes = figure.axes[0]
    legend = [text.get_text() for one in figure.legends for text in one.get_texts()]
    titles = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel(), figure.axes[1].get_ylabel()]
    return [*titles, *(text.get_text() for text in axes.texts), *legend]


def test_the_same_table_gives_the_same_bytes(frame: pd.DataFrame, tmp_path: Path) -> None:
    first = report.write(frame, tmp_path / "one", CAPTION, BPC)
    again = report.write(frame, tmp_path / "two", CAPTION, BPC)
    assert [path.name for path in first] == ["heatmap.png", "heatmap.svg", "heatmap.csv"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[0].read_bytes().startswith(b"\x89PNG")


def test_the_csv_has_exact_numbers(frame: pd.DataFrame, tmp_path: Path) -> None:
    text = report.write(frame, tmp_path, CAPTION, BPC)[2].read_text()
    assert text.splitlines()[:3] == [
        "regularizer.z_cells,regularizer.z_states,valid_chunked_bpc,complete,pruned,failed",
        "0.0,0.0,1.466,1,0,0",
        "0.5,0.0,0.30000000000000004,1,0,0",
    ]
    lines = list(csv.DictReader(text.splitlines()))
    assert len(lines) == 6
    assert (lines[3]["valid_chunked_bpc"], lines[3]["failed"]) == ("", "1")


def test_the_figure_says_what_it_shows(frame: pd.DataFrame) -> None:
    said = words(draw(plane(frame, "char_ptb", BPC), CAPTION))
    assert said[:4] == [
        "figure3",
        r"$\bf{z_{cells}}$, probability of preserving a cell",
        r"$\bf{z_{states}}$, probability of preserving a state",
        "validation bits per character (lower is better)",
    ]
    assert "char_ptb  ·  LSTM, H = 1000  ·  30 epochs  ·  4 complete trials, 1 pruned, 1 failed" in said
    for text in ("1.466", "0.300", "1.362", "1 failed", "no trial", "n = 1", "n = 1\n1 pruned"):
        assert text in said
    assert said[-2:] == [
        "best cell: 0.3000 at (0.5, 0)",
        "paper's best: 1.362 at (0.5, 0.05); Penn Treebank, H = 1000",
    ]


def test_another_task_is_not_measured_by_the_paper(frame: pd.DataFrame) -> None:
    """Its model and metric are said; small numbers keep their digits; no star stands for a value of another task."""
    errors = frame.rename(columns={BPC: CLASSES.objective})
    errors[CLASSES.objective] /= 100
    caption = CAPTION._replace(task="sequential_mnist", cell="bn_lstm", layers=2, hidden=100, metric=CLASSES.label)
    said = words(draw(plane(errors, "sequential_mnist", CLASSES.objective), caption))
    assert said[3] == "validation error rate (lower is better)"
    count = "4 complete trials, 1 pruned, 1 failed"
    assert f"sequential_mnist  ·  2 × BN-LSTM, H = 100  ·  30 epochs  ·  {count}" in said
    for text in ("0.0147", "0.003", "0.0136"):
        assert text in said
    assert said[-1] == "best cell: 0.003 at (0.5, 0)"


def test_small_differences_have_colours_of_their_own() -> None:
    rows = [(x / 10, 0.0, "complete", 0.010 + x / 10_000) for x in range(3)]
    frame = pd.DataFrame(rows, columns=[X, Y, "state", CLASSES.objective])
    norm = draw(plane(frame, "sequential_mnist", CLASSES.objective), CAPTION).axes[0].collections[0].norm
    assert norm.vmax is not None
    assert norm.vmax < 0.0103


def test_missing_cells_are_hatched_and_the_best_is_framed(frame: pd.DataFrame) -> None:
    patches = draw(plane(frame, "char_ptb", BPC), CAPTION).axes[0].patches
    hatched = [patch.get_xy() for patch in patches if patch.get_hatch()]
    assert len(hatched) == 2  # (0, 0.05) failed, (0.75, 0) was never tried
    framed = [patch for patch in patches if not patch.get_fill()]
    assert [(round(one.get_x() + 0.485), round(one.get_y() + 0.485)) for one in framed] == [(1, 0)]


def test_a_far_outlier_does_not_wash_out_the_rest() -> None:
    rows = [(x / 10, 0.0, "complete", 1.36 + x / 100) for x in range(8)] + [(0.9, 0.0, "complete", 50.0)]
    figure = draw(plane(pd.DataFrame(rows, columns=[X, Y, "state", BPC]), "char_ptb", BPC), CAPTION)
    assert figure.axes[0].collections[0].norm.vmax < 2.0


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_plane_of_one_cell_or_none_is_drawn(state: str, tmp_path: Path) -> None:
    frame = pd.DataFrame([(0.0, 0.0, state, 1.5)], columns=[X, Y, "state", "valid_chunked_bpc"])
    assert len(report.write(frame, tmp_path, CAPTION._replace(epochs=1), BPC)) == 3
