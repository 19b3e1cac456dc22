"""Curves, bars and gradients through time: what is computed from hand-made tables, and what the
figures say."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import bars, curves, propagation, style
from analysis.bars import Bar
from analysis.curves import CurvePanel
from analysis.paper import find
from analysis.paper_table import Column, TableRow, compute

METRICS = {"train": "train_bpc", "valid": "valid_chunked_bpc"}
SYSTEMS = {"unregularized": "Unregularized", "zoneout": "Zoneout", "dropout": "Recurrent dropout"}


@pytest.fixture
def epochs() -> pd.DataFrame:
    """Two seeds of one system, of which one ended early, and one of another."""
    lines = [("zoneout", 0, epoch, 2.0 / epoch, 2.5 / epoch) for epoch in (1, 2, 3)]
    lines += [("zoneout", 1, epoch, 2.2 / epoch, 2.7 / epoch) for epoch in (1, 2)]
    lines += [("unregularized", 0, 1, 1.9, 2.6)]
    return pd.DataFrame(lines, columns=["label", "seed", "epoch", "train_bpc", "valid_chunked_bpc"])


def words(figure: Figure) -> str:
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    said += [axes.get_title(loc="left") for axes in figure.axes]
    said += [text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel())]
    said += [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    said += [text.get_text() for one in figure.legends for text in one.get_texts()]
    return "\n".join(said)


def test_a_curve_is_the_mean_over_seeds_as_far_as_all_of_them_go(epochs: pd.DataFrame) -> None:
    found = curves.compute(epochs, SYSTEMS, METRICS, epochs=30)
    assert [(one.title, one.dashed) for one in found] == [
        ("Unregularized", True), ("Unregularized", False), ("Zoneout", True), ("Zoneout", False),
    ]  # fmt: skip
    zoneout = found[3]
    assert (zoneout.epochs, zoneout.seeds, zoneout.colour) == ((1, 2), 2, 1)
    assert zoneout.mean == pytest.approx((2.6, 1.3))
    assert zoneout.half_width[0] == pytest.approx(12.706204736 * 0.1, rel=1e-8)
    assert found[0].half_width == (0.0,)


def test_curves_end_where_the_papers_axis_does(epochs: pd.DataFrame) -> None:
    found = curves.compute(epochs, SYSTEMS, METRICS, epochs=1)
    assert {one.epochs for one in found} == {(1,)}


def test_panels_have_the_papers_axis_and_mark_its_values(epochs: pd.DataFrame) -> None:
    found = tuple(curves.compute(epochs, SYSTEMS, METRICS, epochs=30))
    panel = CurvePanel(title="Figure 4", subtitle="char_ptb  ·  scale: small", y_label="bits per character", epochs=30, curves=found, published={"Zoneout": 1.362})  # fmt: skip
    figure = curves.draw(
        [panel, CurvePanel(title="text8", subtitle="", y_label="", epochs=40, curves=())]
    )
    left, right = figure.axes
    assert (left.get_xlim(), right.get_xlim()) == ((0, 30), (0, 40))
    low, high = left.get_ylim()
    assert low < 1.05 < 2.6 < high, "nothing of ours is cut off"
    for said in (
        "Figure 4",
        "scale: small",
        "Zoneout: train",
        "Zoneout: valid",
        "paper's best valid",
        "not run",
    ):
        assert said in words(figure)


def test_bars_are_of_the_tables_rows() -> None:
    column = Column(title="Valid", metric="valid_chunked_bpc", protocol="")
    rows = [
        TableRow(
            title="Zoneout",
            label="zoneout",
            paper={column.metric: find("char_ptb", "zoneout", "valid")},
        ),
        TableRow(title="RBN", label="rbn"),
    ]
    lines = [
        ("zoneout", seed, "complete", "", 30, "cpu", value)
        for seed, value in enumerate((1.36, 1.38))
    ]
    frame = pd.DataFrame(
        lines, columns=["label", "seed", "state", "reason", "epoch", "hardware", column.metric]
    )
    zoneout, rbn = bars.compute(compute(frame, "", "paper", [column], rows), column.metric)
    assert (zoneout.title, zoneout.ours, zoneout.paper) == ("Zoneout", pytest.approx(1.37), 1.362)
    assert zoneout.half_width == pytest.approx(12.706204736 * 0.01, rel=1e-8)
    assert rbn == Bar(title="RBN", ours=None, half_width=None, paper=None, state="not run")
    figure = bars.draw([zoneout, rbn], "Figure 3", "scale: paper", "bits per character")
    for said in (
        "Figure 3",
        "Zoneout",
        "1.370",
        "not run",
        "95 % confidence",
        "does not begin at 0",
    ):
        assert said in words(figure)
    low, high = figure.axes[0].get_xlim()
    assert low < 1.37 - 0.127 < 1.37 + 0.127 < high, "whiskers are seen whole"


def test_different_numbers_of_seeds_are_told(epochs: pd.DataFrame) -> None:
    """Where all have as many, the subtitle says it."""
    panel = CurvePanel(
        title="",
        subtitle="",
        y_label="",
        epochs=30,
        curves=tuple(curves.compute(epochs, SYSTEMS, METRICS, 30)),
    )
    said = words(curves.draw([panel]))
    assert "Zoneout: valid (n = 2)" in said
    assert "Unregularized: valid (n = 1)" in said
    whole = epochs[epochs["seed"] == 0]
    alike = replace(panel, curves=tuple(curves.compute(whole, SYSTEMS, METRICS, 30)))
    assert "n =" not in words(curves.draw([alike]))
    two = [
        Bar(title=str(n), ours=1.3, half_width=None, paper=None, state="complete", seeds=n)
        for n in (1, 2)
    ]
    assert "1.300  (n = 2)" in words(bars.draw(two, "", "", ""))
    assert "n =" not in words(bars.draw(two[:1], "", "", ""))


def test_a_mean_over_something_else_than_seeds_is_a_mistake_of_ours(epochs: pd.DataFrame) -> None:
    twice = pd.concat([epochs, epochs])
    with pytest.raises(AssertionError, match="zoneout: a mean over something else than seeds"):
        curves.compute(twice, {"zoneout": "Zoneout"}, METRICS, 30)
    lines = [("zoneout", 0, "complete", "", 30, "cpu", 1.36)] * 2
    frame = pd.DataFrame(
        lines,
        columns=["label", "seed", "state", "reason", "epoch", "hardware", "valid_chunked_bpc"],
    )
    column = Column(title="Valid", metric="valid_chunked_bpc", protocol="")
    with pytest.raises(AssertionError, match="Zoneout: a mean over something else than seeds"):
        compute(frame, "", "paper", [column], [TableRow(title="Zoneout", label="zoneout")])


def test_shares_of_the_gradient_are_means_over_seeds() -> None:
    lines = [("zoneout", 0, "c", 1, 0.4), ("zoneout", 0, "c", 2, 0.6), ("zoneout", 1, "c", 1, 0.2), ("zoneout", 1, "c", 2, 0.8)]  # fmt: skip
    lines += [("unregularized", 0, "h", 1, 1.0)]
    frame = pd.DataFrame(lines, columns=["label", "seed", "state", "step", "share"])
    found = propagation.compute(frame, SYSTEMS)
    assert [(one.title, one.state, one.seeds) for one in found] == [
        ("Unregularized", "h", 1),
        ("Zoneout", "c", 2),
    ]
    assert found[1].share == pytest.approx((0.3, 0.7))
    figure = propagation.draw(found, "Figure 6", "after 1 epoch")
    for said in ("Figure 6", "time step t", "Zoneout", "after 1 epoch", r"\partial L/\partial c_t"):
        assert said in words(figure)


def test_equal_numbers_give_equal_bytes(epochs: pd.DataFrame, tmp_path: Path) -> None:
    def draw() -> Figure:
        found = tuple(curves.compute(epochs, SYSTEMS, METRICS, epochs=30))
        return curves.draw(
            [CurvePanel(title="Figure 4", subtitle="", y_label="", epochs=30, curves=found)]
        )

    first, again = (style.save(draw, tmp_path / name, "figure4") for name in ("one", "two"))
    assert [path.name for path in first] == ["figure4.png", "figure4.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
