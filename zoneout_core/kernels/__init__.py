"""The recurrence: inputs, weights, states and masks in, all hidden states out. No random numbers inside.

`choose` says once which implementation runs and why; `recurrence` runs it. There is no silent fall-back: what an
implementation cannot do is an error.

    reference   one lane at a time, plain autograd: the ground truth, for tests and checks
    torch       all lanes at once, explicit backward pass, on CPU and GPU
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from zoneout_core.errors import UnknownName
from zoneout_core.kernels import product, reference, torch_lanes
from zoneout_core.kernels.workspace import Workspace

__all__ = ["CELLS", "IMPLEMENTATIONS", "Choice", "Weights", "Workspace", "choose", "recurrence"]

IMPLEMENTATIONS: Final = ("reference", "torch")
CELLS: Final = ("lstm",)
PRECISIONS: Final = ("float32", "float64", "bfloat16")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which implementation runs, and why; printed once and part of a trial's `Placement`."""

    implementation: str
    reason: str
    product: product.Product


class Weights(NamedTuple):
    """Parameters of the recurrent layer, K lanes; gate blocks of G = 4H ordered i, f, o, g."""

    w_KDG: Tensor
    u_KHG: Tensor
    b_KG: Tensor


def choose(cell: str, precision: str, device: torch.device | str, implementation: str = "torch") -> Choice:
    """Decide how the recurrence of `cell` runs in `precision` on `device`.

    Asking for the `reference` is for checks; it multiplies in the weights' own dtype.
    Raises `UnknownName` for a cell, precision or implementation that does not exist.
    """
    for kind, name, known in (
        ("cell", cell, CELLS),
        ("precision", precision, PRECISIONS),
        ("implementation", implementation, IMPLEMENTATIONS),
    ):
        if name not in known:
            raise UnknownName(kind, name, known)
    device = torch.device(device)
    how = product.pick(precision, device)
    if implementation == "reference":
        return Choice("reference", "asked for; one lane and one step at a time", how)
    return Choice("torch", f"explicit backward on {device.type}; product {how.name}: {how.reason}", how)


def recurrence(
    x: Tensor,
    weights: Weights,
    h0_KBH: Tensor,
    c0_KBH: Tensor,
    mask_cells: Tensor,
    mask_states: Tensor,
    choice: Choice,
    workspace: Workspace | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run K lanes over T steps and return (h_KTBH, h_KBH, c_KBH): all states, and the final ones.

    x: integer tokens [K, T, B] (one-hot inputs, D = V) or dense inputs [K, T, B, D].
    h0_KBH, c0_KBH: [K, B, H], or [K, 1, H] for one state shared by the batch; gradients have the same shape.
    mask_cells, mask_states: broadcast to [K, T, B, H]; bool masks (True = preserve) in training, or the
        probability of preserving as a float tensor such as [K, 1, 1, 1] at evaluation (spec section 9.1).
    workspace: reused buffers; h_KTBH lives in it until its next use. None allocates anew.

    Outside autograd (no_grad, or nothing requires grad) nothing is kept per step but h itself.
    Gradients flow to the weights, h0, c0 and dense inputs; never to masks. Backward runs once per forward.
    """
    if choice.implementation == "reference":
        return _reference(x, weights, h0_KBH, c0_KBH, mask_cells, mask_states)
    return torch_lanes.lstm(
        x, *weights, h0_KBH, c0_KBH, mask_cells, mask_states, choice.product, workspace or Workspace()
    )


def _reference(
    x: Tensor, weights: Weights, h0_KBH: Tensor, c0_KBH: Tensor, mask_cells: Tensor, mask_states: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The reference, lane after lane."""
    w_KDG, u_KHG, b_KG = weights
    if not x.is_floating_point():
        x = torch.nn.functional.one_hot(x.long(), w_KDG.shape[1]).to(w_KDG.dtype)
    lanes = [
        reference.lstm(*lane)
        for lane in zip(x, w_KDG, u_KHG, b_KG, h0_KBH, c0_KBH, mask_cells, mask_states, strict=True)
    ]
    h_KTBH = torch.stack([h_TBH for h_TBH, _ in lanes])
    c_KBH = torch.stack([c_TBH[-1] for _, c_TBH in lanes])
    return h_KTBH, h_KTBH[:, -1], c_KBH
