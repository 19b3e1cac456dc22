"""Random lanes for the tests of the recurrence, and what comes out of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from zoneout_core import kernels
from zoneout_core.cells.lstm import LSTM
from zoneout_core.kernels import Choice, Workspace, choose
from zoneout_core.sites import Sites


@dataclass(frozen=True)
class Lanes:
    """Inputs of K lanes and the gradients that reach their outputs. Every field has the lane axis in front."""

    x: Tensor
    w: Tensor
    u: Tensor
    b: Tensor
    h0: Tensor
    c0: Tensor
    mask_cells: Tensor
    mask_states: Tensor
    dh: Tensor
    dh_last: Tensor
    dc_last: Tensor

    def pick(self, order: Sequence[int]) -> "Lanes":
        """Copies of some lanes, in this order."""
        index = torch.tensor(order)
        return Lanes(*(getattr(self, f.name).index_select(0, index) for f in fields(self)))

    def with_(self, **values: Tensor) -> "Lanes":
        return replace(self, **values)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"w_DG": self.w, "u_HG": self.u, "b_G": self.b}

    @property
    def sites(self) -> Sites:
        return Sites(keep_cells=self.mask_cells, keep_states=self.mask_states)


def random_lanes(
    lanes: int = 3,
    steps: int = 7,
    batch: int = 4,
    hidden: int = 37,
    inputs: int = 11,
    dtype: torch.dtype = torch.float64,
    *,
    dense: bool = False,
    seed: int = 0,
) -> Lanes:
    """Lanes with sizes that fill no vector register, h_0 of its own per example and c_0 shared by the batch."""
    torch.manual_seed(seed)
    K, T, B, H, D, G = lanes, steps, batch, hidden, inputs, 4 * hidden

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype)

    return Lanes(
        x=normal(K, T, B, D) if dense else torch.randint(0, D, (K, T, B)),
        w=normal(K, D, G) * 0.3,
        u=normal(K, H, G) * H**-0.5,
        b=normal(K, G) * 0.3,
        h0=normal(K, B, H),
        c0=normal(K, 1, H),
        mask_cells=torch.rand(K, T, B, H) < 0.5,
        mask_states=torch.rand(K, T, B, H) < 0.2,
        dh=normal(K, T, B, H),
        dh_last=normal(K, B, H),
        dc_last=normal(K, B, H),
    )


def recurrence(lanes: Lanes, choice: Choice, workspace: Workspace | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """h_KTBH, and the last h and c."""
    state = (lanes.h0, lanes.c0)
    h_KTBH, (h, c), *_ = kernels.recurrence(LSTM(), lanes.parameters, lanes.x, state, lanes.sites, choice, workspace)
    return h_KTBH, h, c


def run(lanes: Lanes, choice: Choice, workspace: Workspace | None = None) -> dict[str, Tensor]:
    """Forward and backward: all outputs and all gradients, by name."""
    names = ["w", "u", "b", "h0", "c0"] + (["x"] if lanes.x.is_floating_point() else [])
    leaves = {name: getattr(lanes, name).detach().requires_grad_() for name in names}
    lanes = lanes.with_(**leaves)
    outputs = recurrence(lanes, choice, workspace)
    gradients = torch.autograd.grad(outputs, list(leaves.values()), (lanes.dh, lanes.dh_last, lanes.dc_last))
    result = dict(zip(("h", "h_last", "c_last"), outputs, strict=True))
    result |= {f"d{name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}
    return {name: value.detach().clone() for name, value in result.items()}


def torch_choice(precision: str) -> Choice:
    return choose(LSTM(), precision, "cpu")
