import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import paper
from analysis.plane import MOST_PANELS, PAPER_BEST, PAPER_BPC, Plane, X, Y, plane
from analysis.points import Searched
from zoneout_core.errors import SpaceError
from zoneout_core.records import TrialState

NAN = float("nan")
BPC = "valid_chunked_bpc"
LR, H = "optim.learning_rate", "model.hidden_size"


def table(*rows: tuple[float, float, str, float]) -> pd.DataFrame:
    """A seed of its own for each trial of a cell."""
    frame = pd.DataFrame(rows, columns=[X, Y, "state", BPC])
    frame["seed"] = frame.groupby([X, Y]).cumcount()
    return frame


def char_plane(frame: pd.DataFrame, **keys: str) -> Plane:
    return plane(frame, "char_ptb", BPC, Searched(keys=(X, Y)), **keys)


def counts(numbers: Plane, state: TrialState) -> list[list[int]]:
    """[y, x] Of the first panel."""
    cells, axes = numbers.panels[0].cells, numbers.axes
    return [
        [cells[row, column].lost.get(state, 0) for column in range(len(axes.x))]
        for row in range(len(axes.y))
    ]


def four_keys(
    seeds: tuple[int, ...] = (0,), hidden: tuple[int, ...] = (8, 16)
) -> tuple[pd.DataFrame, Searched]:
    """A plane of 2 x 2 for two learning rates and some sizes: the value says which point and seed
    it is of."""
    space = {X: (0.0, 0.5), Y: (0.0, 0.05), LR: (0.0001, 0.02), H: hidden}
    points = [
        dict(zip(space, values, strict=True)) | {"seed": seed}
        for seed in seeds
        for values in itertools.product(*space.values())
    ]
    rows = [point | {"state": "complete", BPC: value_of(point)} for point in points]
    return pd.DataFrame(rows), Searched(keys=tuple(space), points=tuple(points))


def value_of(point: dict[str, Any]) -> float:
    return float(6 - point[X] - 10 * point[LR] - point[H] / 20 - point[Y] + 0.5 * point["seed"])


def test_means_counts_and_the_best_cell_by_hand() -> None:
    numbers = char_plane(
        table(
            (0.5, 0.0, "complete", 1.4),
            (0.5, 0.0, "complete", 1.5),
            (0.0, 0.0, "complete", 1.6),
            (0.0, 0.05, "pruned", 1.0),
            (0.0, 0.05, "pruned", NAN),
            (0.5, 0.05, "failed", NAN),
            (0.5, 0.05, "complete", 1.3),
            (0.75, 0.0, "interrupted", NAN),
        )
    )
    (panel,) = numbers.panels
    assert (numbers.axes.x, numbers.axes.y) == ((0.0, 0.5, 0.75), (0.0, 0.05))
    np.testing.assert_array_equal(
        panel.mean(numbers.axes), [[1.6, (1.4 + 1.5) / 2, NAN], [NAN, 1.3, NAN]]
    )
    complete = [[len(panel.cells[row, column].values) for column in range(3)] for row in range(2)]
    assert complete == [[1, 2, 0], [0, 1, 0]]
    assert counts(numbers, TrialState.PRUNED) == [[0, 0, 0], [2, 0, 0]]
    assert counts(numbers, TrialState.FAILED) == [[0, 0, 0], [0, 1, 0]]
    assert counts(numbers, TrialState.INTERRUPTED) == [[0, 0, 1], [0, 0, 0]]
    assert dict(numbers.trials) == {"complete": 4, "pruned": 2, "failed": 1, "interrupted": 1}
    assert numbers.best == (0, (1, 1))
    assert numbers.paper == (1, 1)


def test_the_order_of_trials_changes_no_bit() -> None:
    random = np.random.default_rng(0)
    frame = table(
        *[(float(x), 0.0, "complete", random.normal()) for x in range(3) for _ in range(50)]
    )
    forth, back = char_plane(frame), char_plane(frame[::-1])
    means = [one.panels[0].mean(one.axes) for one in (forth, back)]
    np.testing.assert_array_equal(*means)


def test_no_complete_trial_has_no_best_cell() -> None:
    numbers = char_plane(table((0.5, 0.05, "failed", NAN)))
    assert numbers.best is None
    assert np.isnan(numbers.panels[0].mean(numbers.axes)).all()


def test_the_first_of_equal_cells_is_best() -> None:
    numbers = char_plane(table((0.0, 0.0, "complete", 1.0), (0.5, 0.0, "complete", 1.0)))
    assert numbers.best == (0, (0, 0))


def test_other_searched_keys_have_a_panel_for_each_combination() -> None:
    """No number is a mean over anything else than seeds: each is one trial's."""
    frame, searched = four_keys()
    numbers = plane(frame, "char_pydoc", BPC, searched)
    assert [dict(panel.held) for panel in numbers.panels] == [
        {LR: rate, H: hidden} for rate in (0.0001, 0.02) for hidden in (8.0, 16.0)
    ]
    for panel in numbers.panels:
        for (row, column), point in panel.cells.items():
            at = (
                {X: numbers.axes.x[column], Y: numbers.axes.y[row]} | dict(panel.held) | {"seed": 0}
            )
            assert point.values == (value_of(at),)
    assert numbers.over == ()
    assert numbers.best is not None
    number, cell = numbers.best
    best = numbers.panels[number].cells[cell]
    assert best.params == {X: 0.5, Y: 0.05, LR: 0.02, H: 16.0}
    assert best.mean == frame[BPC].min()


def test_a_mean_is_over_the_seeds_of_one_point() -> None:
    frame, searched = four_keys(seeds=(0, 1))
    numbers = plane(frame, "char_pydoc", BPC, searched)
    assert len(numbers.panels) == 4
    point = numbers.panels[0].cells[0, 0]
    at = {X: 0.0, Y: 0.0, LR: 0.0001, H: 8}
    assert point.values == (value_of(at | {"seed": 0}), value_of(at | {"seed": 1}))
    assert (point.mean, point.seeds) == (sum(point.values) / 2, 2)


def test_too_many_combinations_show_the_best_over_them_and_how_many_there_were() -> None:
    frame, searched = four_keys(hidden=tuple(range(8, 8 + MOST_PANELS)))
    frame.loc[0, ["state", BPC]] = "failed", NAN
    numbers = plane(frame, "char_pydoc", BPC, searched)
    (panel,) = numbers.panels
    assert (numbers.over, panel.held) == ((LR, H), {})
    assert panel.cells[0, 0].params == {X: 0.0, Y: 0.0, LR: 0.02, H: 19.0}
    assert panel.combinations == {(0, 0): 23, (0, 1): 24, (1, 0): 24, (1, 1): 24}
    assert len(numbers.points) == len(frame)


def test_a_cell_with_nothing_but_losses_counts_them_over_all_combinations() -> None:
    frame, searched = four_keys(hidden=tuple(range(8, 8 + MOST_PANELS)))
    lost = frame[X] == 0.0
    frame.loc[lost, "state"], frame.loc[lost, BPC] = "pruned", NAN
    numbers = plane(frame, "char_pydoc", BPC, searched)
    assert numbers.panels[0].cells[0, 0].lost == {TrialState.PRUNED: 24}
    assert (0, 0) not in numbers.panels[0].combinations


def test_an_endless_key_shows_the_best_over_what_was_drawn_of_it() -> None:
    frame, _ = four_keys()
    points = tuple({X: x, Y: y} for x in (0.0, 0.5) for y in (0.0, 0.05))
    numbers = plane(
        frame[frame[Y] > 0],
        "char_pydoc",
        BPC,
        Searched(keys=(X, Y, LR, H), points=points, has_every_key=False),
    )
    (panel,) = numbers.panels
    assert numbers.over == (LR, H)
    assert panel.combinations == {(1, 0): 4, (1, 1): 4}
    assert not panel.cells[0, 0].values
    assert not panel.cells[0, 0].lost


def test_a_searched_key_with_one_value_is_held_and_makes_no_panels() -> None:
    frame, searched = four_keys(hidden=(8,))
    numbers = plane(frame, "char_pydoc", BPC, searched)
    assert [dict(panel.held) for panel in numbers.panels] == [{LR: 0.0001}, {LR: 0.02}]
    assert numbers.held == {H: 8.0}


def test_a_key_that_only_some_trials_have_is_told_of_these() -> None:
    frame, _ = four_keys(hidden=(8,))
    frame.loc[frame[LR] == 0.02, LR] = NAN
    numbers = plane(frame, "char_pydoc", BPC, Searched(keys=(X, Y, LR, H)))
    assert [dict(panel.held) for panel in numbers.panels] == [{LR: 0.0001}, {}]


def test_values_of_the_space_that_no_trial_drew_stay_on_the_axes() -> None:
    points = tuple({X: x, Y: y} for x in (0, 0.25, 0.5) for y in (0.0, 0.05, 0.25))
    frame = table((0.25, 0.05, "complete", 1.0))
    numbers = plane(frame, "char_ptb", BPC, Searched(keys=(X, Y), points=points))
    assert (numbers.axes.x, numbers.axes.y) == ((0.0, 0.25, 0.5), (0.0, 0.05, 0.25))
    assert len(numbers.panels[0].cells) == 9
    assert [cell for cell, point in numbers.panels[0].cells.items() if point.values] == [(1, 1)]


def test_cells_know_how_many_seeds_there_were_to_be() -> None:
    points = tuple({X: x, Y: 0.0, "seed": seed} for seed in (0, 1) for x in (0.0, 0.5))
    frame = table(
        (0.0, 0.0, "complete", 1.0), (0.0, 0.0, "complete", 2.0), (0.5, 0.0, "complete", 1.2)
    )
    cells = plane(frame, "char_ptb", BPC, Searched(keys=(X, Y), points=points)).panels[0].cells
    assert [(len(cells[0, column].values), cells[0, column].seeds) for column in (0, 1)] == [
        (2, 2),
        (1, 2),
    ]


def test_a_seed_that_was_drawn_twice_counts_once() -> None:
    frame = table(*[(0.0, 0.0, "complete", 1.0)] * 3, (0.0, 0.0, "pruned", NAN))
    frame["seed"] = [0, 0, 1, 1]
    numbers = char_plane(frame)
    assert numbers.panels[0].cells[0, 0].values == (1.0, 1.0)
    assert not numbers.panels[0].cells[0, 0].lost, (
        "seed 1 has a value, whatever became of another trial of it"
    )
    assert numbers.repeats == 2


def test_the_seed_may_be_an_axis() -> None:
    frame = table((0.0, 0.0, "complete", 1.0), (0.0, 0.0, "complete", 3.0))
    numbers = char_plane(frame, x_key="seed")
    np.testing.assert_array_equal(numbers.panels[0].mean(numbers.axes), [[1.0, 3.0]])


def test_the_papers_cell_needs_the_papers_axes_and_values() -> None:
    assert char_plane(table((0.5, 0.1, "complete", 1.0), (0.0, 0.05, "complete", 1.0))).paper == (
        0,
        1,
    )
    assert char_plane(table((0.5, 0.1, "complete", 1.0))).paper is None
    turned = table((0.05, 0.5, "complete", 1.0)).rename(columns={X: Y, Y: X})
    assert char_plane(turned, x_key=Y, y_key=X).paper is None


def test_the_papers_cell_needs_the_papers_task_and_metric() -> None:
    frame, searched = table((0.5, 0.05, "complete", 1.0)), Searched(keys=(X, Y))
    assert plane(frame, "char_ptb", BPC, searched).paper == (0, 0)
    assert plane(frame, "char_pydoc", BPC, searched).paper is None
    words = frame.rename(columns={BPC: "valid_perplexity"})
    assert plane(words, "char_ptb", "valid_perplexity", searched).paper is None
    assert plane(words, "word_ptb", "valid_perplexity", searched).panels[0].cells[0, 0].mean == 1.0


def test_the_papers_cell_is_the_published_one() -> None:
    published = json.loads(paper.DATA.read_text())
    found: list[Any] = [
        one["value"]
        for one in published
        if (one["task"], one["regularizer"], one["split"], one["version"])
        == ("char_ptb", "zoneout", "valid", "final")
        and one["params"] == {"z_c": PAPER_BEST[0], "z_h": PAPER_BEST[1]}
    ]
    assert found == [PAPER_BPC]


def test_an_axis_that_was_not_searched() -> None:
    with pytest.raises(SpaceError) as error:
        char_plane(table((0.5, 0.1, "complete", 1.0)), x_key="optim.clip_norm")
    assert str(error.value) == (
        "An axis of the heatmap must be a searched key, but 'optim.clip_norm' is none of "
        "['regularizer.zoneout.z_cells', 'regularizer.zoneout.z_states']. Choose others with: sweep report RUN --x-axis KEY --y-axis KEY"
    )


def test_an_axis_of_words() -> None:
    frame = table((0.5, 0.1, "complete", 1.0)).assign(label="zoneout")
    with pytest.raises(SpaceError) as error:
        plane(frame, "char_ptb", BPC, Searched(keys=(X, Y, "label")), x_key="label")
    assert str(error.value) == (
        "An axis of the heatmap must be a number, but 'label' has ['zoneout']. "
        "Choose others with: sweep report RUN --x-axis KEY --y-axis KEY"
    )


def test_an_axis_of_too_many_values() -> None:
    with pytest.raises(SpaceError) as error:
        char_plane(table(*((x / 100, 0.1, "complete", 1.0) for x in range(17))))
    assert str(error.value) == (
        "An axis of the heatmap must be a grid of at most 16 values, but 'regularizer.zoneout.z_cells' has 17. "
        "Look at the table instead: sweep export RUN"
    )
