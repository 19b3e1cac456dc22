"""The recurrence of a layer: inputs, parameters, states and masks in, all hidden states out. It
draws no random numbers.

`choose` decides once which implementation runs and why; `recurrence` runs it. There is no silent
fallback: asking an implementation for something that it cannot do is an error.

    torch   all lanes at once with an explicit backward pass, on CPU and GPU, for some cells
    loop    one lane, one step at a time through `zoneout_core.cells`: the truth, for every cell
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from zoneout_core.cells import Cell
from zoneout_core.errors import ConfigError, UnknownName
from zoneout_core.kernels import fastest_product, loop, product, switches, torch_lanes
from zoneout_core.kernels.emulation import check_precision
from zoneout_core.kernels.lanes import Lanes
from zoneout_core.kernels.timing import Shape
from zoneout_core.kernels.workspace import Workspace
from zoneout_core.masking.sites import Sites

__all__ = [
    "IMPLEMENTATIONS",
    "KernelChoice",
    "Lanes",
    "Shape",
    "Workspace",
    "check_precision",
    "choose",
    "recurrence",
]

IMPLEMENTATIONS: Final = ("loop", "torch")
PRECISIONS: Final = ("float32", "float64", "bfloat16")


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """The implementation that runs, and the reason; printed once and part of a trial's
    `Placement`."""

    implementation: str
    reason: str
    product: product.MatMul


def choose(
    cell: Cell,
    precision: str,
    device: torch.device | str,
    site_keys: Iterable[str] = (),
    implementation: str = "",
    shape: Shape | None = None,
) -> KernelChoice:
    """Decide how the recurrence of `cell`, with its settings, runs in `precision` on `device`.

    site_keys: the `Mask.site_key` of the trial's masks; masks outside the layers do not matter.
    implementation: empty for the best one; `loop` is for checks and multiplies in the dtype of the
    parameters. shape: the sizes of a lane's products, to choose the fastest product on this
    machine; None for the default product.

    Raises `UnknownName` for a precision or implementation that does not exist, and `ConfigError`
    when `implementation` cannot run this.
    """
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    if implementation and implementation not in IMPLEMENTATIONS:
        raise UnknownName("implementation", implementation, IMPLEMENTATIONS)
    device = torch.device(device)
    slowly = "one lane and one step at a time"
    if precision == "bfloat16":
        slowly += ", in float32"
    if implementation == "loop":
        return KernelChoice("loop", f"asked for; {slowly}", fastest_product.pick(precision, device))
    missing = torch_lanes.missing(cell, frozenset(site_keys))
    if not missing:
        matmul = fastest_product.pick(precision, device, shape)
        product_reason = f"product {matmul.name}: {matmul.reason}{switches.note()}"
        reason = f"explicit backward on {device.type}; {product_reason}"
        return KernelChoice("torch", reason, matmul)
    if implementation == "torch":
        raise ConfigError(
            f"The kernel torch must know all that it runs, but it has no {missing}. Take the kernel"
            " loop."
        )
    reason = f"{slowly}: the kernel torch has no {missing}"
    return KernelChoice("loop", reason, fastest_product.pick(precision, device))


def recurrence(
    cell: Cell,
    p: Mapping[str, Tensor],
    x: Tensor,
    state: tuple[Tensor, ...],
    sites: Sites,
    choice: KernelChoice,
    *,
    workspace: Workspace | None = None,
    training: bool = True,
    trajectories: bool = False,
) -> Lanes:
    """Run K lanes over T steps.

    p: the layer's parameters by the names of `cell.parameters`, each [K, ...]; it may contain
    others. x: integer tokens [K, T, B] (one-hot inputs, D = V) or dense inputs [K, T, B, D]. state:
    in the order of `cell.STATES`, each [K, B, U], or [K, 1, U] for a state shared by the batch.
    sites: masks that broadcast to [K, T, B, U]: bool or real in training, expectations in an
    evaluation, such as a probability [K, 1, 1, 1] (spec section 9). workspace: reused buffers, in
    which outputs and trajectories are valid until its next use; None allocates new ones. training:
    whether normalising cells use the statistics of the batch (and return them) or the running
    statistics. trajectories: whether to return every state after every step, not only the outputs.

    Outside autograd (no_grad, or nothing requires grad) only returned values are kept for every
    step. Gradients flow to parameters, states and dense inputs; never to masks. With `torch`,
    backward runs once per forward.
    """
    if choice.implementation == "loop":
        return loop.run(cell, p, x, state, sites, training=training, trajectories=trajectories)
    return torch_lanes.run(
        cell,
        p,
        x,
        state,
        sites,
        product=choice.product,
        workspace=workspace or Workspace(),
        trajectories=trajectories,
    )
