"""All lanes of a pack at once in stock torch: one autograd function for the sequence, with its own
backward pass."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoneout_core.cells import Cell, name_of
from zoneout_core.kernels.gru import GRUPass
from zoneout_core.kernels.lanes import Lanes
from zoneout_core.kernels.lstm import LSTMPass
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.rnn import RNNPass
from zoneout_core.kernels.sequence import Pass
from zoneout_core.kernels.workspace import Workspace
from zoneout_core.masking.sites import Sites

KERNELS: Final[Mapping[str, type[Pass]]] = {"lstm": LSTMPass, "gru": GRUPass, "rnn": RNNPass}
"""By cell."""
ELSEWHERE: Final = frozenset({"embedding", "outputs"})
"""Places of masks that are no part of a layer."""


def missing(cell: Cell, places: frozenset[str]) -> str:
    """What of `cell`, its settings and its masks has no kernel here, in words; empty = there is one
    for all of it."""
    name = name_of(type(cell))
    if name not in KERNELS:
        return f"cell {name or type(cell).__name__}"
    kernel = KERNELS[name]
    for f in fields(cell):
        value = getattr(cell, f.name)
        if value != f.default and value not in kernel.SETTINGS.get(f.name, ()):
            return f"cell.{f.name}={value} of {name}"
    unknown = sorted(places - ELSEWHERE - kernel.SITES)
    if unknown:
        return f"mask at {', '.join(unknown)} of {name}"
    return ""


def run(
    cell: Cell,
    p: Mapping[str, Tensor],
    x: Tensor,
    state: tuple[Tensor, ...],
    sites: Sites,
    product: MatMul,
    workspace: Workspace,
    trajectories: bool,
) -> Lanes:
    """`zoneout_core.kernels.recurrence`, which has the contract."""
    assert all(mask.dim() == 4 for mask in sites.present().values()), (
        "masks by gate are no business of this kernel"
    )
    kernel = KERNELS[name_of(type(cell))].of(cell)
    if sites.inputs is not None and x.is_floating_point():
        x = x * sites.inputs.to(x.dtype)
    if sites.gate is not None and len(state) == len(cell.STATES):
        state = (
            *state,
            torch.zeros_like(state[0][:, :1]),
        )  # no output gate was open before the first step
    leaves = (x, *(p[name] for name in kernel.parameters()), *state)
    make = partial(kernel, cell, sites, product, workspace, trajectories=trajectories)
    if torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves):
        apply: Callable[..., tuple[Tensor, ...]] = _Sequence.apply
        returned = apply(make, *leaves)
    else:
        with torch.no_grad():
            returned = make(leaves, keep=False).forward()
    every, last = returned[: -len(state)], returned[-len(state) :]
    return Lanes(every[0], last, every if trajectories else None, [{} for _ in range(len(x))])


class _Sequence(torch.autograd.Function):
    """The whole sequence as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, make: Callable[..., Pass], *leaves: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        run = ctx.run = make(leaves, keep=True)
        return run.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        run: Pass = ctx.run
        of_states = run.backward(gradients)
        return (None, *run.gradients(need_x=ctx.needs_input_grad[1]), *of_states)
