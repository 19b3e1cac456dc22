"""Random lanes for the tests of the recurrence, and what comes out of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from zoneout_core import kernels
from zoneout_core.cells import Cell
from zoneout_core.cells.lstm import LSTM
from zoneout_core.config.trial import ModelConfig
from zoneout_core.kernels import KernelChoice, Workspace, choose
from zoneout_core.masking.sites import Sites

ZONEOUT = ("keep_cells", "keep_states")


@dataclass(frozen=True)
class Lanes:
    """Inputs of K lanes and the gradients that reach their outputs. Every tensor has the lane axis
    in front."""

    cell: Cell
    x: Tensor
    p: dict[str, Tensor]
    state: tuple[Tensor, ...]
    masks: dict[str, Tensor]
    dh: Tensor
    dlast: tuple[Tensor, ...]
    dmore: tuple[Tensor, ...] = field(default=())
    """Gradients of the trajectories after the first, where they are asked for."""

    def each(self, change: Callable[[Tensor], Tensor]) -> "Lanes":
        """The same with every tensor changed."""
        return Lanes(
            self.cell,
            change(self.x),
            {name: change(one) for name, one in self.p.items()},
            tuple(change(one) for one in self.state),
            {name: change(one) for name, one in self.masks.items()},
            change(self.dh),
            tuple(change(one) for one in self.dlast),
            tuple(change(one) for one in self.dmore),
        )

    def pick(self, order: Sequence[int]) -> "Lanes":
        """Copies of some lanes, in this order."""
        return self.each(lambda one: one.index_select(0, torch.tensor(order)))

    def with_masks(self, **masks: Tensor) -> "Lanes":
        return replace(self, masks=self.masks | masks)

    @property
    def sites(self) -> Sites:
        return Sites(**self.masks, gate_form="intent" if "gate" in self.masks else "")

    @property
    def site_keys(self) -> list[str]:
        """As `Mask.site_key` says them."""
        return ["gate intent" if name == "gate" else name for name in self.masks]


def random_lanes(
    lanes: int = 3,
    steps: int = 7,
    batch: int = 4,
    hidden: int = 37,
    inputs: int = 11,
    dtype: torch.dtype = torch.float64,
    *,
    cell: Cell | None = None,
    sites: Iterable[str] = ZONEOUT,
    dense: bool = False,
    trajectories: bool = False,
    seed: int = 0,
) -> Lanes:
    """Lanes with sizes that fill no vector register. The first state is each example's own, others
    the batch shares.

    sites: where there are masks, of zeros and ones, drawn anew for every step, example and unit.
    """
    torch.manual_seed(seed)
    cell = cell or LSTM()
    K, T, B, H, D = lanes, steps, batch, hidden, inputs

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype)

    shapes = cell.parameters(ModelConfig(hidden_size=H), D)
    p = {
        name: normal(K, *shape) * (H**-0.5 if name.startswith("u_") else 0.3)
        for name, shape in shapes.items()
    }
    state = tuple(normal(K, B if n == 0 else 1, H) for n in range(len(cell.STATES)))
    widths = {"inputs": D if dense else 1}
    masks = {
        name: torch.rand(K, T, B, widths.get(name, H)) < (0.3 if name.startswith("keep_") else 0.7)
        for name in sites
    }
    count = len(state) + ("gate" in masks)
    return Lanes(
        cell=cell,
        x=normal(K, T, B, D) if dense else torch.randint(0, D, (K, T, B)),
        p=p,
        state=state,
        masks=masks,
        dh=normal(K, T, B, H),
        dlast=tuple(normal(K, B, H) for _ in range(count)),
        dmore=tuple(normal(K, T, B, H) for _ in range(count - 1)) if trajectories else (),
    )


def recurrence(
    lanes: Lanes, choice: KernelChoice, workspace: Workspace | None = None
) -> kernels.Lanes:
    """Forward only."""
    return kernels.recurrence(
        lanes.cell,
        lanes.p,
        lanes.x,
        lanes.state,
        lanes.sites,
        choice,
        workspace=workspace,
        trajectories=bool(lanes.dmore),
    )


def run(
    lanes: Lanes, choice: KernelChoice, workspace: Workspace | None = None
) -> dict[str, Tensor]:
    """Forward and backward: all outputs and all gradients, by name."""
    leaves = dict(lanes.p) | {f"{name}0": one for name, one in zip("hc", lanes.state, strict=False)}
    if lanes.x.is_floating_point():
        leaves["x"] = lanes.x
    leaves = {name: leaf.detach().requires_grad_() for name, leaf in leaves.items()}
    state = tuple(leaves[f"{name}0"] for name, _ in zip("hc", lanes.state, strict=False))
    p = {name: leaves[name] for name in lanes.p}
    out = recurrence(
        replace(lanes, x=leaves.get("x", lanes.x), p=p, state=state), choice, workspace
    )
    outputs = [out.outputs_KTBU, *out.last, *(out.trajectories or ())[1:]]
    gradients = torch.autograd.grad(
        outputs, list(leaves.values()), [lanes.dh, *lanes.dlast, *lanes.dmore]
    )
    names = [
        "h",
        *(f"last{n}" for n in range(len(out.last))),
        *(f"every{n + 1}" for n in range(len(lanes.dmore))),
    ]
    result = dict(zip(names, outputs, strict=True))
    result |= {f"d{name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}
    return {name: value.detach().clone() for name, value in result.items()}


def torch_choice(precision: str, lanes: Lanes | None = None) -> KernelChoice:
    """The lane-native kernel."""
    return choose(
        lanes.cell if lanes else LSTM(), precision, "cpu", lanes.site_keys if lanes else (), "torch"
    )


def loop_choice(precision: str) -> KernelChoice:
    """The ground truth."""
    return choose(LSTM(), precision, "cpu", implementation="loop")
