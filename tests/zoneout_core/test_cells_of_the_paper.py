"""What the project's cells are besides what `zoneout_core.conformance` asks of every cell."""

import subprocess
import sys
from math import prod
from typing import Any

import pytest

from zoneout_core import cells
from zoneout_core.cells import chosen
from zoneout_core.config.trial import TrialConfig
from zoneout_core.conformance.made_cells import make
from zoneout_core.errors import ConfigError

NOT_EXACT = {"hm_lstm": "test_cell_equations.py", "surprisal_lstm": "test_cell_surprisal.py"}
"""Cells whose gradient is no derivative, and where it is tested."""


def test_a_gradient_that_is_no_derivative_has_a_test_of_its_own() -> None:
    inexact = {name for name in cells.names() if not make(name, {}).cell.EXACT}
    assert inexact == set(NOT_EXACT)


def test_surprisal_says_why_it_reads_symbols_only() -> None:
    made = make("surprisal_lstm", {})
    assert made.cell.SYMBOLS
    with pytest.raises(ConfigError, match="surprisal_lstm compares the symbols it reads"):
        made.run(x=made.dense)


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"cell": "lstm"}, 4_256_050),
        ({"cell": "hyper_lstm"}, 4_924_898),
    ],
)
def test_parameters_of_the_paper(values: dict[str, Any], count: int) -> None:
    """1000 units on 50 symbols, with the output layer and the initial states (spec sections 2.3,
    11.4: 4.92 M)."""
    config = TrialConfig().with_values(values | {"hidden_size": 1000})
    cell = chosen(config)
    own = sum(prod(shape) for shape in cell.parameters(config.model, 50).values())
    assert own + sum(cell.starts(config.model).values()) + 1000 * 50 + 50 == count


def test_cells_are_known_without_torch() -> None:
    code = "import sys, zoneout_core.config.trial as c; c.TrialConfig(); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
