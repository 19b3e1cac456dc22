"""Where a lane's numbers lie in its row."""

from math import prod

import pytest
import torch

from zoneout_core import tasks
from zoneout_core.config.trial import TrialConfig
from zoneout_core.network.layout import ALIGNMENT, Layout
from zoneout_core.network.network import Network


def config(**values: object) -> TrialConfig:
    return TrialConfig().with_values(values)


def layout_of(vocabulary: int, **values: object) -> Layout:
    """Of the character model."""
    network = Network(config(**values), vocabulary, vocabulary)
    return Layout(network.trained(), {"kept_X": (3, 5)})


def test_the_papers_network_has_its_number_of_parameters() -> None:
    """Spec section 2.3."""
    assert layout_of(50).count == 4_256_050
    assert layout_of(50, init_state="zero").count == 4_254_050


@pytest.mark.parametrize("hidden", [1, 13, 64])
def test_parameters_lie_apart_aligned_and_whole(hidden: int) -> None:
    """Numbering each parameter's place shows no overlap; a lane's part of a view is contiguous in
    every slot."""
    layout = layout_of(7, hidden_size=hidden)
    rows_KP = torch.zeros(3, layout.size)
    shapes = layout.shapes | layout.kept
    views = layout.views(rows_KP) | layout.kept_views(rows_KP)
    for number, (name, view) in enumerate(views.items(), start=1):
        assert view.shape == (3, *shapes[name])
        assert layout.offsets[name] % ALIGNMENT == 0
        assert all(lane.is_contiguous() for lane in view)
        assert not view.any()
        view += number
    assert layout.size % ALIGNMENT == 0
    counts = torch.bincount(rows_KP[1].long()).tolist()
    assert counts[1:] == [prod(shape) for shape in shapes.values()]
    assert counts[0] == layout.size - layout.count - 15
    assert layout.offsets["kept_X"] == layout.trained_size == layout.size - ALIGNMENT


def test_a_row_holds_what_was_put_into_it() -> None:
    layout = layout_of(5, hidden_size=3)
    parameters = {
        name: torch.randn(shape, dtype=torch.float64) for name, shape in layout.shapes.items()
    }
    row_P = layout.row(parameters, torch.float64)
    for name, view in layout.views(row_P.unsqueeze(0)).items():
        assert torch.equal(view[0], parameters[name])


@pytest.mark.parametrize(
    ("task", "inputs", "outputs", "parameters"),
    [
        ("char_ptb", 50, 50, 4_256_050),
        ("text8", 27, 27, 16_282_027),
        ("word_ptb", 10_000, 10_000, 66_022_000),
        ("sequential_mnist", 1, 10, 42_010),
    ],
)
def test_the_papers_settings_of_each_task_have_the_papers_number_of_parameters(
    task: str, inputs: int, outputs: int, parameters: int
) -> None:
    """Spec sections 2.3, 3 (66 M), 4 (16.3 M) and 5 (one layer of 100 units with h_0 and c_0)."""
    assert Layout(Network(tasks.get(task).config(), inputs, outputs).trained()).count == parameters
