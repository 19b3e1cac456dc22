"""The reach of gradients back through time (Figure 6, spec section 8.1).

For every step t: the mean over examples of the norm over units of dL/dc_t, divided by the sum of
these means over all t; and the same for dL/dh_t. Masks are drawn, as in training.

T steps, B examples, H units.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from zoneout_core import kernels, tasks
from zoneout_core.cells import Cell, State
from zoneout_core.errors import ConfigError
from zoneout_core.masking.sites import Sites
from zoneout_core.training import workloads
from zoneout_core.training.lane import Lane
from zoneout_core.training.lane_state import LaneState
from zoneout_core.training.workloads._network import GroupUpdate, NetworkWorkload

Of = Literal["carried", "candidate"]
"""`carried`: gradients of the states that the next step reads. `candidate`: as in the code, these
gradients times 1 - mask. They are 0 where a unit was zoned out, which hides the effect that the
figure shows."""
BATCHES = 100
"""Batches of the paper's figure; its script used one."""


class RecordedSteps(list[tuple[State, Sites]]):
    """The states after every step of a run, with the masks of that step."""


def recording(cell: Cell, recorded: RecordedSteps) -> Cell:
    """A copy of the cell that appends each of its steps to `recorded`."""
    kind: type[Any] = type(cell)

    def step(self: Cell, p: Any, a_BG: Tensor, state: State, sites: Sites, moment: Any) -> State:
        # Only the next step and the outputs read these copies: h_t reads the candidate cell, not
        # the carried cell.
        state = tuple(value.clone() for value in kind.step(self, p, a_BG, state, sites, moment))
        recorded.append((state, sites))
        return state

    subclass = type(f"Recording{kind.__name__}", (kind,), {"step": step})
    return cast("Cell", subclass(**{f.name: getattr(cell, f.name) for f in fields(kind)}))


def shares(state: LaneState, data: Any, batches: int = BATCHES) -> dict[Of, dict[str, list[float]]]:
    """Each step's share of the gradient's norm for a trained lane, over the next `batches` training
    batches: by what the gradient is of, and by the name of the state.

    Raises `ConfigError` for a network of several layers, whose states no figure of the paper shows.
    """
    config = state.config
    if config.model.num_layers != 1:
        raise ConfigError(
            "Gradients through time are those of one layer, but model.num_layers is"
            f" {config.model.num_layers}."
        )
    workload = workloads.get(tasks.get(config.task).workload)(config, data, torch.device("cpu"))
    assert isinstance(workload, NetworkWorkload), "a task with a network"
    (network,) = workload.networks
    names = network.cell.STATES
    recorded = RecordedSteps()
    network.cell = recording(network.cell, recorded)
    sums: dict[tuple[Of, str], Tensor] = {}
    for number in range(batches):
        recorded.clear()
        lane = Lane(
            trial=state.trial,
            config=config,
            epoch_updates=workload.epoch_updates(config),
            updates=state.updates + number,
        )
        loss = _loss(workload, lane, state.weights)
        for key, norms_T in norms(loss, recorded, names).items():
            sums[key] = sums.get(key, 0.0) + norms_T
    return {of: {name: _normalised(sums[of, name]) for name in names} for of in get_args(Of)}


def _loss(workload: NetworkWorkload, lane: Lane, row_P: Tensor) -> Tensor:
    """The loss of the lane's next update, with all regularizers except weight noise."""
    rows_1P = row_P.detach().clone()[None]
    choice = kernels.choose(
        workload.networks[0].cell, lane.config.precision, "cpu", implementation="loop"
    )
    part = GroupUpdate(
        choice, [lane], workload.layout.views(rows_1P), workload.layout.kept_views(rows_1P)
    )
    for leaf in part.p.values():
        leaf.requires_grad_()
    return workload.losses(part)[0]["loss"]


def norms(
    loss: Tensor, recorded: RecordedSteps, names: tuple[str, ...]
) -> dict[tuple[Of, str], Tensor]:
    """Mean over examples of ||dL/d state_t||, [T] float64, by what the gradient is of and by the
    name of the state. Frees the graph of `loss`."""
    flat = [value for state, _ in recorded for value in state[: len(names)]]
    gradients = torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True)
    result: dict[tuple[Of, str], Tensor] = {}
    for place, name in enumerate(names):
        keeps = [sites.keep_cells if name == "c" else sites.keep_states for _, sites in recorded]
        carried = gradients[place :: len(names)]
        result["carried", name] = _norms(carried)
        candidate = [
            gradient if keep is None else gradient * (1 - keep)
            for gradient, keep in zip(carried, keeps, strict=True)
        ]
        result["candidate", name] = _norms(candidate)
    return result


def _norms(gradients: Iterable[Tensor]) -> Tensor:
    return torch.stack([gradient_BH.double().norm(dim=-1).mean() for gradient_BH in gradients])


def _normalised(total_T: Tensor) -> list[float]:
    total = total_T.sum()
    if total > 0:
        total_T = total_T / total
    return [float(value) for value in total_T]
