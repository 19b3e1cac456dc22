import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.plane import PAPER_BEST, PAPER_BPC, Plane, X, Y, plane
from zoneout_core.errors import SpaceError

NAN = float("nan")


def table(*rows: tuple[float, float, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[X, Y, "state", "valid_chunked_bpc"])


def char_plane(frame: pd.DataFrame, **keys: str) -> Plane:
    return plane(frame, "char_ptb", "valid_chunked_bpc", **keys)


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
    assert (numbers.x, numbers.y) == ((0.0, 0.5, 0.75), (0.0, 0.05))
    np.testing.assert_array_equal(numbers.mean, [[1.6, (1.4 + 1.5) / 2, NAN], [NAN, 1.3, NAN]])
    np.testing.assert_array_equal(numbers.complete, [[1, 2, 0], [0, 1, 0]])
    np.testing.assert_array_equal(numbers.pruned, [[0, 0, 0], [2, 0, 0]])
    np.testing.assert_array_equal(numbers.failed, [[0, 0, 0], [0, 1, 0]])
    assert numbers.best == (1, 1)
    assert numbers.paper == (1, 1)


def test_the_order_of_trials_changes_no_bit() -> None:
    random = np.random.default_rng(0)
    rows = [(float(x), 0.0, "complete", random.normal()) for x in range(3) for _ in range(50)]
    forth, back = char_plane(table(*rows)), char_plane(table(*rows[::-1]))
    np.testing.assert_array_equal(forth.mean, back.mean)


def test_no_complete_trial_has_no_best_cell() -> None:
    numbers = char_plane(table((0.5, 0.05, "failed", NAN)))
    assert numbers.best is None
    assert np.isnan(numbers.mean).all()


def test_the_first_of_equal_cells_is_best() -> None:
    numbers = char_plane(table((0.0, 0.0, "complete", 1.0), (0.5, 0.0, "complete", 1.0)))
    assert numbers.best == (0, 0)


def test_the_papers_cell_needs_the_papers_axes_and_values() -> None:
    assert char_plane(table((0.5, 0.1, "complete", 1.0), (0.0, 0.05, "complete", 1.0))).paper == (0, 1)
    assert char_plane(table((0.5, 0.1, "complete", 1.0))).paper is None
    turned = table((0.05, 0.5, "complete", 1.0)).rename(columns={X: Y, Y: X})
    assert char_plane(turned, x_key=Y, y_key=X).paper is None


def test_the_papers_cell_needs_the_papers_task_and_metric() -> None:
    frame = table((0.5, 0.05, "complete", 1.0))
    assert plane(frame, "char_ptb", "valid_chunked_bpc").paper == (0, 0)
    assert plane(frame, "char_pydoc", "valid_chunked_bpc").paper is None
    words = frame.rename(columns={"valid_chunked_bpc": "valid_perplexity"})
    assert plane(words, "char_ptb", "valid_perplexity").paper is None
    assert plane(words, "word_ptb", "valid_perplexity").mean[0, 0] == 1.0


@pytest.mark.needs_oracles  # the published numbers lie beside them
def test_the_papers_cell_is_the_published_one(repo_root: Path) -> None:
    published = json.loads((repo_root / ".." / "shared" / "paper_results.json").read_text())
    found: list[Any] = [
        one["value"]
        for one in published
        if (one["task"], one["regularizer"], one["split"], one["version"]) == ("char_ptb", "zoneout", "valid", "final")
        and one["params"] == {"z_c": PAPER_BEST[0], "z_h": PAPER_BEST[1]}
    ]
    assert found == [PAPER_BPC]


def test_an_axis_that_was_not_searched() -> None:
    with pytest.raises(SpaceError) as error:
        char_plane(table((0.5, 0.1, "complete", 1.0)), x_key="optim.clip_norm")
    assert str(error.value) == (
        "An axis of the heatmap must be a searched key, but 'optim.clip_norm' is none of "
        "['regularizer.z_cells', 'regularizer.z_states']. Choose another with --set x_axis=KEY or --set y_axis=KEY."
    )


def test_an_axis_of_words() -> None:
    with pytest.raises(SpaceError) as error:
        char_plane(table((0.5, 0.1, "complete", 1.0)), x_key="state")
    assert str(error.value) == (
        "An axis of the heatmap must be a number, but 'state' has ['complete']. "
        "Choose another with --set x_axis=KEY or --set y_axis=KEY."
    )


def test_an_axis_of_too_many_values() -> None:
    with pytest.raises(SpaceError) as error:
        char_plane(table(*((x / 100, 0.1, "complete", 1.0) for x in range(17))))
    assert str(error.value) == (
        "An axis of the heatmap must be a grid of at most 16 values, but 'regularizer.z_cells' has 17. "
        "Look at the table instead: sweep export RUN"
    )
