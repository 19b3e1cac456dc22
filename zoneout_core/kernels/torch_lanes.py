"""All lanes of a pack at once in stock torch: one autograd function for the sequence, with its own
backward pass."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoneout_core.cells import Cell, name_of
from zoneout_core.cells.gru import GRU
from zoneout_core.kernels.gru import BY_RESET, ResetBefore
from zoneout_core.kernels.lanes import Lanes
from zoneout_core.kernels.lstm import LSTMPass
from zoneout_core.kernels.pass_inputs import PassInputs
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.rnn import RNNPass
from zoneout_core.kernels.sequence import Pass
from zoneout_core.kernels.workspace import Workspace
from zoneout_core.masking.sites import Sites

KERNELS: Final[Mapping[str, type[Pass]]] = {"lstm": LSTMPass, "gru": ResetBefore, "rnn": RNNPass}
"""By cell. A GRU's is one of two, which know the same settings and masks; one stands for both."""
OUTSIDE_LAYERS: Final = frozenset({"embedding", "outputs"})
"""Sites of masks that are no part of a layer."""


def missing(cell: Cell, site_keys: frozenset[str]) -> str:
    """The first part of `cell`, its settings and its masks that no kernel here supports, in words;
    empty = all is supported."""
    name = name_of(type(cell))
    if name not in KERNELS:
        return f"cell {name or type(cell).__name__}"
    kernel = KERNELS[name]
    for setting in fields(cell):
        value = getattr(cell, setting.name)
        if value != setting.default and value not in kernel.SETTINGS.get(setting.name, ()):
            return f"cell.{setting.name}={value} of {name}"
    unknown = sorted(site_keys - OUTSIDE_LAYERS - kernel.SITES)
    if unknown:
        return f"mask at {', '.join(unknown)} of {name}"
    return ""


def run(
    cell: Cell,
    p: Mapping[str, Tensor],
    x: Tensor,
    state: tuple[Tensor, ...],
    sites: Sites,
    *,
    product: MatMul,
    workspace: Workspace,
    trajectories: bool,
) -> Lanes:
    """See `zoneout_core.kernels.recurrence`, which has the contract."""
    assert all(mask.dim() == 4 for mask in sites.present().values()), (
        "masks by gate are no business of this kernel"
    )
    kernel = _kernel(cell)
    if sites.inputs is not None and x.is_floating_point():
        x = x * sites.inputs.to(x.dtype)
    if sites.gate is not None and len(state) == len(cell.STATES):
        # No output gate was open before the first step.
        state = (*state, torch.zeros_like(state[0][:, :1]))
    parameters = tuple(p[name] for name in kernel.PARAMETERS)
    leaves = (x, *parameters, *state)
    differentiable = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
    inputs = PassInputs(
        cell=cell,
        x=x,
        parameters=parameters,
        states=state,
        sites=sites,
        product=product,
        workspace=workspace,
        keep=differentiable,
        trajectories=trajectories,
    )
    if differentiable:
        apply: Callable[..., tuple[Tensor, ...]] = _Sequence.apply
        returned = apply(kernel, inputs, *inputs.leaves)
    else:
        with torch.no_grad():
            returned = kernel(inputs).forward()
    every, last = returned[: -len(state)], returned[-len(state) :]
    return Lanes(every[0], last, every if trajectories else None, [{} for _ in range(len(x))])


def _kernel(cell: Cell) -> type[Pass]:
    """The kernel of a cell with these settings."""
    if isinstance(cell, GRU):
        return BY_RESET[cell.reset]
    return KERNELS[name_of(type(cell))]


class _Sequence(torch.autograd.Function):
    """The whole sequence as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, kernel: type[Pass], inputs: PassInputs, *leaves: Tensor
    ) -> tuple[Tensor, ...]:
        """leaves: those of `inputs`, which autograd looks for among the arguments."""
        ctx.set_materialize_grads(False)
        ctx.run = kernel(inputs)
        returned: tuple[Tensor, ...] = ctx.run.forward()
        return returned

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        run: Pass = ctx.run
        state_gradients = run.backward(gradients)
        need_x = ctx.needs_input_grad[2]
        return (None, None, *run.gradients(need_x=need_x), *state_gradients)
