import csv
import io
import itertools
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import report
from analysis.caption import Caption
from analysis.heatmap import draw
from analysis.plane import X, Y, plane
from analysis.points import Searched
from zoneout_core.records import CHARACTERS, CLASSES, Metrics

CAPTION = Caption(
    sweep="figure3",
    task="char_ptb",
    cell="lstm",
    layers=1,
    hidden=1000,
    epochs=30,
    metric=CHARACTERS.label,
)
BPC = CHARACTERS.objective
LR, H = "optim.learning_rate", "model.hidden_size"
SEARCHED = Searched(
    keys=(X, Y),
    points=tuple(
        {X: x, Y: y, "seed": s} for s in (0, 1) for y in (0, 0.05) for x in (0, 0.5, 0.75)
    ),
)


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        (0.0, 0.0, 0, "complete", 1.466),
        (0.5, 0.0, 0, "complete", 0.1 + 0.2),
        (0.0, 0.05, 0, "failed", float("nan")),
        (0.5, 0.05, 0, "complete", 1.362),
        (0.5, 0.05, 1, "complete", 1.364),
        (0.75, 0.05, 0, "complete", 9.0),
        (0.75, 0.05, 1, "pruned", float("nan")),
    ]
    return pd.DataFrame(rows, columns=[X, Y, "seed", "state", BPC])


def made(
    space: dict[str, tuple[float, ...]], seeds: tuple[int, ...] = (0,)
) -> tuple[pd.DataFrame, Searched]:
    """A whole grid whose trials all completed."""
    points = [
        dict(zip(space, values, strict=True)) | {"seed": seed}
        for seed in seeds
        for values in itertools.product(*space.values())
    ]
    rows = [
        point | {"state": "complete", BPC: 2 - number / 1000} for number, point in enumerate(points)
    ]
    return pd.DataFrame(rows), Searched(keys=tuple(space), points=tuple(points))


def drawn(
    frame: pd.DataFrame,
    searched: Searched = SEARCHED,
    caption: Caption = CAPTION,
    metrics: Metrics = CHARACTERS,
) -> Figure:
    return draw(plane(frame, caption.task, metrics.objective, searched), caption)


def words(figure: Figure) -> list[str]:
    """Everything that the figure says, as one would read it aloud: broken lines are one."""
    said = [
        one.get_text().replace("\n", " ") for one in figure.findobj(Text) if isinstance(one, Text)
    ]
    return [one for one in said if one]


def test_the_same_table_gives_the_same_bytes(frame: pd.DataFrame, tmp_path: Path) -> None:
    first = report.write(frame, tmp_path / "one", CAPTION, BPC, SEARCHED)
    again = report.write(frame, tmp_path / "two", CAPTION, BPC, SEARCHED)
    assert [path.name for path in first] == ["heatmap.png", "heatmap.svg", "heatmap.csv"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[0].read_bytes().startswith(b"\x89PNG")


def test_panels_have_equal_bytes_too(tmp_path: Path) -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05), LR: (0.001, 0.002), H: (8, 16)})
    files = [
        report.write(frame, tmp_path / name, CAPTION, BPC, searched) for name in ("one", "two")
    ]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_the_csv_has_exact_numbers(frame: pd.DataFrame, tmp_path: Path) -> None:
    text = report.write(frame, tmp_path, CAPTION, BPC, SEARCHED)[2].read_text()
    assert text.splitlines()[:3] == [
        "regularizer.zoneout.z_cells,regularizer.zoneout.z_states,valid_chunked_bpc,complete,pruned,failed,interrupted,seeds",
        "0.0,0.0,1.466,1,0,0,0,2",
        "0.5,0.0,0.30000000000000004,1,0,0,0,2",
    ]
    lines = list(csv.DictReader(text.splitlines()))
    assert len(lines) == 6
    assert (lines[3]["valid_chunked_bpc"], lines[3]["failed"]) == ("", "1")
    assert (lines[4]["complete"], lines[4]["seeds"]) == ("2", "2")


def test_a_value_with_a_comma_a_quote_and_a_newline_survives_the_csv(tmp_path: Path) -> None:
    hard = 'a, "b"\nc'
    frame = pd.DataFrame(
        [(x, 0.0, hard, 0, "complete", 1.5) for x in (0.0, 0.5)],
        columns=[X, Y, "label", "seed", "state", BPC],
    )
    points = tuple({X: x, Y: 0.0, "label": hard, "seed": 0} for x in (0.0, 0.5))
    searched = Searched(keys=(X, Y, "label"), points=points)
    numbers = plane(frame, CAPTION.task, BPC, searched)
    lines = list(csv.DictReader(io.StringIO(report.table(numbers))))
    assert [line["label"] for line in lines] == [hard, hard]


def test_the_csv_has_all_searched_keys_also_where_the_picture_has_the_best_over_them(
    tmp_path: Path,
) -> None:
    frame, searched = made(
        {LR: tuple(i / 1000 for i in range(1, 21)), X: (0.0, 0.5), Y: (0.0, 0.05)}
    )
    text = report.write(frame, tmp_path, CAPTION, BPC, searched)[2].read_text()
    lines = list(csv.DictReader(text.splitlines()))
    assert list(lines[0])[:4] == [X, Y, LR, BPC]
    assert {(float(one[X]), float(one[Y]), float(one[LR])): float(one[BPC]) for one in lines} == {
        (x, y, rate): value
        for x, y, rate, value in zip(*(frame[key] for key in (X, Y, LR, BPC)), strict=True)
    }


def test_the_figure_says_what_it_shows(frame: pd.DataFrame) -> None:
    said = words(drawn(frame))
    for text in (
        "figure3",
        r"$\bf{z_{cells}}$, probability of preserving a cell",
        r"$\bf{z_{states}}$, probability of preserving a state",
        "validation bits per character (lower is better) power scale (0.6): finer near the best",
        "char_ptb  ·  LSTM, H = 1000  ·  30 epochs  ·  means over 1 to 2 seeds 5 complete trials, 1 pruned, 1 failed",
        "best cell: 0.3000 at z_cells = 0.5, z_states = 0 (n = 1 of 2)",
        "paper's best: 1.362 at z_cells = 0.5, z_states = 0.05; Penn Treebank, H = 1000",
    ):
        assert text in said
    for text in (
        "1.466",
        "0.300",
        "1.363",
        "1 failed",
        "not run",
        "n = 1 of 2",
        "n = 2",
        "n = 1 of 2 1 pruned",
    ):
        assert text in said


def test_a_whole_plane_of_one_seed_says_so_once() -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05)})
    said = words(drawn(frame, searched))
    assert "char_ptb  ·  LSTM, H = 1000  ·  30 epochs  ·  1 seed  ·  4 complete trials" in said
    assert not any("n = " in one for one in said), "no cell differs from the others"
    assert not any("not run" in one for one in said)


def test_a_whole_plane_of_three_seeds_says_that_its_numbers_are_means() -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05)}, seeds=(0, 1, 2))
    said = words(drawn(frame, searched))
    assert any("means over 3 seeds" in one and "12 complete trials" in one for one in said)
    assert not any("n = " in one for one in said)
    assert "1.996" in said, "of 2.000, 1.996 and 1.992"


def test_each_panel_says_what_it_holds_and_all_have_one_colour_scale() -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05), LR: (0.001, 0.02), H: (8, 16)})
    figure = drawn(frame, searched, CAPTION._replace(hidden=None))
    said = words(figure)
    for rate in ("0.001", "0.02"):
        for hidden in ("8", "16"):
            assert f"learning_rate = {rate}, hidden_size = {hidden}" in said
    assert "char_ptb  ·  LSTM  ·  30 epochs  ·  1 seed  ·  16 complete trials" in said, (
        "no H that only some have"
    )
    assert (
        "best cell: 1.9850 at z_cells = 0.5, z_states = 0.05, learning_rate = 0.02, hidden_size = 16"
        in said
    )
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == 4
    scales = {(axes.collections[0].norm.vmin, axes.collections[0].norm.vmax) for axes in panels}
    assert scales == {(frame[BPC].min(), frame[BPC].max())}
    framed = [
        axes.get_title(loc="left")
        for axes in panels
        if any(not patch.get_fill() for patch in axes.patches)
    ]
    assert framed == ["learning_rate = 0.02,\nhidden_size = 16"]


def test_the_best_over_many_combinations_is_said_in_the_picture() -> None:
    frame, searched = made(
        {X: (0.0, 0.5), Y: (0.0, 0.05), LR: (0.001, 0.002, 0.003, 0.004, 0.005), H: (8, 16, 32, 64)}
    )
    said = words(drawn(frame, searched))
    assert any(
        "Each cell is the best over learning_rate, hidden_size, of 20 combinations; heatmap.csv has all of them."
        in one
        for one in said
    )
    assert any("learning_rate = 0.005, hidden_size = 64" in one for one in said)
    fewer = words(drawn(frame.drop(index=0), searched))
    assert any("of as many combinations as it says" in one for one in fewer)
    assert {"best of 19", "best of 20"} <= set(fewer)


def test_what_is_held_everywhere_and_what_a_budget_cut_is_said() -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05), LR: (0.001,), H: (8,)})
    caption = CAPTION._replace(hidden=8, note="4 of 9 points of the grid, the first in its order")
    (said,) = [one for one in words(drawn(frame, searched, caption)) if one.startswith("char_ptb")]
    assert "LSTM, H = 8  ·  30 epochs  ·  learning_rate = 0.001  ·  1 seed" in said
    assert said.endswith("4 of 9 points of the grid, the first in its order")


def test_trials_that_were_drawn_again_are_said() -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05)})
    said = words(drawn(pd.concat([frame, frame[:2]]), searched))
    assert any("Drawn again with the same seed, and counted once: 2 trials." in one for one in said)


def test_another_task_is_not_measured_by_the_paper(frame: pd.DataFrame) -> None:
    """Its model and metric are said; small numbers keep their digits; no star stands for a value of
    another task."""
    errors = frame.rename(columns={BPC: CLASSES.objective})
    errors[CLASSES.objective] /= 100
    caption = CAPTION._replace(
        task="sequential_mnist", cell="bn_lstm", layers=2, hidden=100, metric=CLASSES.label
    )
    said = words(drawn(errors, SEARCHED, caption, CLASSES))
    assert any(one.startswith("validation error rate (lower is better)") for one in said)
    assert any(
        one.startswith("sequential_mnist  ·  2 × BN-LSTM, H = 100  ·  30 epochs") for one in said
    )
    for text in (
        "0.0147",
        "0.003",
        "0.0136",
        "best cell: 0.003 at z_cells = 0.5, z_states = 0 (n = 1 of 2)",
    ):
        assert text in said
    assert not any("paper" in one for one in said)


def test_small_differences_have_colours_of_their_own() -> None:
    rows = [(x / 10, 0.0, 0, "complete", 0.010 + x / 10_000) for x in range(3)]
    frame = pd.DataFrame(rows, columns=[X, Y, "seed", "state", CLASSES.objective])
    caption = CAPTION._replace(task="sequential_mnist")
    norm = drawn(frame, Searched(keys=(X, Y)), caption, CLASSES).axes[0].collections[0].norm
    assert norm.vmax is not None
    assert norm.vmax < 0.0103


def test_missing_cells_are_hatched_and_the_best_is_framed(frame: pd.DataFrame) -> None:
    patches = drawn(frame).axes[0].patches
    hatched = [patch.get_xy() for patch in patches if patch.get_hatch()]
    assert len(hatched) == 2  # (0, 0.05) failed, (0.75, 0) was never tried
    framed = [patch for patch in patches if not patch.get_fill()]
    assert [(round(one.get_x() + 0.485), round(one.get_y() + 0.485)) for one in framed] == [(1, 0)]


def test_why_a_cell_has_no_number_is_told_apart() -> None:
    frame, searched = made({X: (0.0, 0.5, 0.75), Y: (0.0, 0.05)})
    frame = frame[:5].assign(state=["complete", "pruned", "failed", "interrupted", "running"])
    figure = drawn(frame, searched)
    legend = [text.get_text() for one in figure.legends for text in one.get_texts()]
    assert legend[2:] == ["pruned", "failed", "interrupted", "running", "not run"]
    looks = [
        (patch.get_hatch(), patch.get_facecolor())
        for patch in figure.axes[0].patches
        if patch.get_hatch()
    ]
    assert len(looks) == len(set(looks)) == 5


def test_a_cell_that_the_space_does_not_have_is_not_said_to_be_missing() -> None:
    frame, searched = made({X: (0.0, 0.5), Y: (0.0, 0.05)})
    part = Searched(keys=searched.keys, points=searched.points[:3])
    said = words(drawn(frame[:3], part))
    assert "not in the space" in said
    assert "not run" not in said


def test_a_far_outlier_does_not_wash_out_the_rest() -> None:
    rows = [(x / 10, 0.0, 0, "complete", 1.36 + x / 100) for x in range(8)] + [
        (0.9, 0.0, 0, "complete", 50.0)
    ]
    figure = drawn(pd.DataFrame(rows, columns=[X, Y, "seed", "state", BPC]), Searched(keys=(X, Y)))
    assert figure.axes[0].collections[0].norm.vmax < 2.0


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_plane_of_one_cell_or_none_is_drawn(state: str, tmp_path: Path) -> None:
    frame = pd.DataFrame([(0.0, 0.0, 0, state, 1.5)], columns=[X, Y, "seed", "state", BPC])
    assert (
        len(report.write(frame, tmp_path, CAPTION._replace(epochs=1), BPC, Searched(keys=(X, Y))))
        == 3
    )


@pytest.mark.parametrize(
    "space",
    [
        {X: (0.0, 0.25, 0.5), Y: (0.0, 0.05, 0.25)},
        {
            X: (0.0, 0.5),
            Y: (0.0, 0.05),
            "label": ("recurrent-dropout-0.25-with-a-long-name", "zoneout"),
            H: (8, 16),
        },
        {X: (0.0, 0.5), Y: (0.0, 0.05), H: tuple(range(8, 15))},
    ],
)
def test_no_text_leaves_the_picture_or_covers_another(space: dict[str, tuple[float, ...]]) -> None:
    """Also with a long name of the run and of the cell."""
    frame, searched = made(space)
    caption = CAPTION._replace(
        sweep="surprisal_driven_zoneout-20261122-012544-2",
        cell="surprisal_lstm",
        layers=3,
        note="one more line " * 9,
    )
    figure = drawn(frame, searched, caption)
    figure.draw_without_rendering()
    whole = figure.bbox
    boxes = {
        text: one.get_window_extent()
        for one in figure.findobj(Text)
        if isinstance(one, Text) and (text := one.get_text().strip()) and one.get_visible()
    }
    for text, box in boxes.items():
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text
    head = [box for text, box in boxes.items() if text.startswith(("surprisal", "char_ptb"))]
    titles = [axes.title.get_window_extent() for axes in figure.axes] + [
        axes.bbox for axes in figure.axes
    ]
    assert len(head) == 2
    assert min(box.y0 for box in head) >= max(box.y1 for box in titles)
    legends = [one.get_window_extent() for one in figure.legends]
    assert max(box.y1 for box in legends) <= min(axes.get_tightbbox().y0 for axes in figure.axes)


def test_the_bytes_do_not_depend_on_what_was_drawn_before(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """As a layout engine's do, in their last digits."""
    first = [
        path.read_bytes()
        for path in report.write(frame, tmp_path / "first", CAPTION, BPC, SEARCHED)
    ]
    kept = []
    for number in range(8):
        kept.append(drawn(frame))  # other objects at other places in memory
        again = report.write(frame, tmp_path / str(number), CAPTION, BPC, SEARCHED)
        assert [path.read_bytes() for path in again] == first
