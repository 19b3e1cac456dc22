"""Where a lane's parameters lie in its row."""

from math import prod

import pytest
import torch

from zoneout_core.config import TrialConfig
from zoneout_core.model import ALIGNMENT, Layout


def config(**values: object) -> TrialConfig:
    return TrialConfig().with_values(values)


def test_the_papers_network_has_its_number_of_parameters() -> None:
    """Spec section 2.3."""
    assert Layout(config(), vocabulary=50).count == 4_256_050
    assert Layout(config(init_state="zero"), vocabulary=50).count == 4_254_050


@pytest.mark.parametrize("hidden", [1, 13, 64])
def test_parameters_lie_apart_aligned_and_whole(hidden: int) -> None:
    """Numbering each parameter's place shows no overlap; a lane's part of a view is contiguous in every slot."""
    layout = Layout(config(hidden=hidden), vocabulary=7)
    rows_KP = torch.zeros(3, layout.size)
    for number, (name, view) in enumerate(layout.views(rows_KP).items(), start=1):
        assert view.shape == (3, *layout.shapes[name])
        assert layout.offsets[name] % ALIGNMENT == 0
        assert all(lane.is_contiguous() for lane in view)
        assert not view.any()
        view += number
    assert layout.size % ALIGNMENT == 0
    counts = torch.bincount(rows_KP[1].long()).tolist()
    assert counts[1:] == [prod(shape) for shape in layout.shapes.values()]
    assert counts[0] == layout.size - layout.count


def test_a_row_holds_what_was_put_into_it() -> None:
    layout = Layout(config(hidden=3), vocabulary=5)
    parameters = {name: torch.randn(shape, dtype=torch.float64) for name, shape in layout.shapes.items()}
    row_P = layout.row(parameters, torch.float64)
    for name, view in layout.views(row_P.unsqueeze(0)).items():
        assert torch.equal(view[0], parameters[name])
