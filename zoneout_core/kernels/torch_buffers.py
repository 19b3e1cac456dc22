"""Where a pass over the sequence keeps its numbers: the workspace, cut into views once per shape."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zoneout_core.kernels.workspace import Workspace

Steps = list[Tensor]
"""`steps[t]` is step t of all lanes, [K, B, ...]."""
Lanes = list[list[Tensor]]
"""`lanes[t][k]` is step t of lane k, [B, ...]."""


@dataclass(frozen=True, slots=True)
class Buffers:
    """Views of the workspace for K lanes; cutting them anew at every step would cost as much as the arithmetic.

    A pass that keeps nothing has one step of gates and tanh and two of cells, which take turns; index with `t % len`.
    """

    gates_KTBG: Tensor
    """Gates i, f, o, g after their activation; backward turns them into gradients of the pre-activations."""
    h_KTBH: Tensor
    """h_0 to h_T: T + 1 steps."""
    gates: list[tuple[Tensor, ...]]
    """(i, f, o, g) of each step, each [K, B, H]."""
    ifo: Steps
    h: Steps
    c: Steps
    """c_0 to c_T."""
    tanh: Steps
    """tanh of the candidate cell."""
    gates_lanes: Lanes
    h_lanes: Lanes
    tanh_lanes: Lanes
    scratch: list[Tensor]
    """Five [K, B, H] for the values of one step."""
    dgates: Tensor
    """[K, B, 3H]: gradients of i, f, o for one step."""


def buffers(ws: Workspace, shape: tuple[int, int, int, int], like: Tensor, *, keep: bool) -> Buffers:
    """The buffers for `shape` = (K, T, B, H) in the dtype and on the device of `like`, built once."""
    key = (shape, like.dtype, like.device, keep)
    if key not in ws.views:
        built = _build(ws, shape, like, keep=keep)
        ws.views[key] = built  # after building: a buffer that had to grow has emptied the views
    found: Buffers = ws.views[key]
    return found


def _build(ws: Workspace, shape: tuple[int, int, int, int], like: Tensor, *, keep: bool) -> Buffers:
    K, T, B, H = shape

    def take(name: str, *per_lane: int) -> Tensor:
        return ws.take(name, K, per_lane, like.dtype, like.device)

    gates = take("gates", T if keep else 1, B, 4 * H)
    tanh = take("tanh", T if keep else 1, B, H)
    c = take("c", T + 1 if keep else 2, B, H)
    h = take("h", T + 1, B, H)
    return Buffers(
        gates_KTBG=gates,
        h_KTBH=h,
        gates=[step.chunk(4, dim=-1) for step in gates.unbind(1)],
        ifo=list(gates[..., : 3 * H].unbind(1)),
        h=list(h.unbind(1)),
        c=list(c.unbind(1)),
        tanh=list(tanh.unbind(1)),
        gates_lanes=_lanes(gates),
        h_lanes=_lanes(h),
        tanh_lanes=_lanes(tanh),
        scratch=[take(f"scratch{n}", B, H) for n in range(5)],
        dgates=take("dgates", B, 3 * H),
    )


def _lanes(x: Tensor) -> Lanes:
    return [list(torch.unbind(step, 0)) for step in x.unbind(1)]
