"""The Markdown page of a reproduction, from told numbers."""

from typing import Any

from analysis.page import page


def told(**block: Any) -> dict[str, Any]:
    number = {"paper": 1.362, "ours": 1.5, "interval": [1.4, 1.6]}
    row = {
        "system": "Zoneout",
        "label": "zoneout",
        "note": "as printed",
        "state": "complete",
        "seeds": [0, 1],
        "epochs": [3, 2],
        "hardware": ["cpu, 1 thread"],
        "numbers": {"valid_bpc": number},
    }
    lost = row | {
        "system": "LSTM",
        "label": "lstm",
        "note": "",
        "state": "not run",
        "seeds": [],
        "epochs": [],
        "hardware": [],
        "numbers": {"valid_bpc": {"paper": None, "ours": None, "interval": None}},
    }
    whole = {
        "title": "Characters",
        "scale": "small",
        "columns": [{"title": "Valid", "metric": "valid_bpc", "protocol": "chunks of 100"}],
        "rows": [row, lost],
        "not_as_in_the_paper": {
            "": ["hidden_size=8 (paper: 1000)"],
            "lstm": ["batch_size=2 (paper: 32)"],
        },
        "best": None,
        "runs": ["run-1"],
        "commits": ["abcdef0"],
        "seconds": 90.0,
    }
    return {
        "reproduction": "table1",
        "scale": "small",
        "set": {"epochs": "3"},
        "blocks": [whole | block],
    }


def test_a_page_says_what_was_run_at_which_scale_beside_the_paper() -> None:
    text = page(told(), "Table 1", ["Mind the split."], ["figure.png"])
    assert text == (
        "## Table 1\n\n"
        "`sweep reproduce table1 --scale small --set epochs=3`\n\n"
        "**Characters**\n\n"
        "Not as in the paper: hidden_size=8 (paper: 1000).\n\n"
        "| system | Valid, paper | Valid, ours (small) | seeds | epochs |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| Zoneout | 1.362 | 1.500 ± 0.100 | 2 | 2-3 |\n"
        "| LSTM | - | not run | 0 |  |\n\n"
        "- Valid: chunks of 100 (`valid_bpc`)\n"
        "- Zoneout: as printed\n"
        "- LSTM: not as in the paper: batch_size=2 (paper: 32)\n\n"
        "Commit abcdef0; trained on cpu, 1 thread; 1.5 lane-minutes; runs run-1.\n\n"
        "![figure](figure.png)\n\n"
        "- Mind the split.\n"
    )


def test_at_the_papers_scale_ours_is_ours() -> None:
    assert "| system | Valid, paper | Valid, ours | seeds |" in page(
        told(scale="paper"), "Table 1", [], []
    )


def test_a_block_that_was_not_run_says_so_and_a_plane_its_best() -> None:
    assert "**Characters**: not run at this scale.\n" in page(told(rows=[]), "Figure 3", [], [])
    best = {"of": 9, "value": 2.39851, "params": {"regularizer.zoneout.z_cells": 0.5}}
    assert "Best of 9 trials: 2.3985 at z_cells = 0.5.\n" in page(
        told(rows=[], best=best), "Figure 3", [], []
    )
