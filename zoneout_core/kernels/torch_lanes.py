"""All lanes of a pack at once, in plain torch: one autograd function for the sequence, with an
explicit backward pass."""

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
"""By cell. A GRU has two kernels with the same settings and masks, of which one is listed."""
OUTSIDE_LAYERS: Final = frozenset({"embedding", "outputs"})
"""Sites of masks outside the layers."""


def missing(cell: Cell, site_keys: frozenset[str]) -> str:
    """The first thing that no kernel here supports, in words: the cell, a setting or a mask; empty
    if all is supported."""
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
    """See `zoneout_core.kernels.recurrence` for the contract."""
    assert all(mask.dim() == 4 for mask in sites.present().values()), (
        "this kernel has no masks by gate"
    )
    kernel = _kernel(cell)
    if sites.inputs is not None and x.is_floating_point():
        x = x * sites.inputs.to(x.dtype)
    if sites.gate is not None and len(state) == len(cell.STATES):
        # Before the first step the output gate is closed.
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
    all_steps = returned[: -len(state)]
    last = returned[-len(state) :]
    statistics: list[dict[str, Tensor]] = [{} for _ in range(len(x))]
    return Lanes(all_steps[0], last, all_steps if trajectories else None, statistics)


def _kernel(cell: Cell) -> type[Pass]:
    """The kernel of a cell with these settings."""
    if isinstance(cell, GRU):
        return BY_RESET[cell.reset]
    return KERNELS[name_of(type(cell))]


class _Sequence(torch.autograd.Function):
    """The sequence as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, kernel: type[Pass], inputs: PassInputs, *leaves: Tensor
    ) -> tuple[Tensor, ...]:
        """leaves: those of `inputs`; autograd finds them only among the arguments."""
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
