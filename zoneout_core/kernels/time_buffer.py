"""Buffers with a slot for each time step of a pass, and the views of them that steps use."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from zoneout_core.kernels.workspace import Workspace


@dataclass(frozen=True)
class TimeBuffer:
    """S slots of [K, B, N].

    A pass that keeps nothing has fewer slots than steps: index with `t % len(buffer)`. Views are
    made only once: making them at every step would cost as much as the arithmetic.
    """

    values_KSBN: Tensor
    block_count: int = 1
    """Number of blocks of equal width in N, such as the gates."""

    def __len__(self) -> int:
        return self.values_KSBN.shape[1]

    @cached_property
    def steps(self) -> list[Tensor]:
        """`steps[s]` is slot s of all lanes, [K, B, N]."""
        return list(self.values_KSBN.unbind(1))

    @cached_property
    def lanes(self) -> list[list[Tensor]]:
        """`lanes[s][k]` is slot s of lane k, [B, N]."""
        return [list(step.unbind(0)) for step in self.steps]

    @cached_property
    def blocks(self) -> list[tuple[Tensor, ...]]:
        """`blocks[s][j]` is block j of slot s, [K, B, N / block_count]."""
        return [step.chunk(self.block_count, dim=-1) for step in self.steps]

    def leading(self, blocks: int) -> "TimeBuffer":
        """The first `blocks` blocks of every slot."""
        width = blocks * self.values_KSBN.shape[-1] // self.block_count
        return TimeBuffer(self.values_KSBN[..., :width], blocks)


def take(
    workspace: Workspace, name: str, shape: tuple[int, int, int, int], like: Tensor, blocks: int = 1
) -> TimeBuffer:
    """The buffer `name` of shape (K, S, B, N), in the dtype and on the device of `like`. Its views
    are kept with it."""
    key = (name, shape, like.dtype, like.device, blocks)
    if key not in workspace.views:
        values_KSBN = workspace.take(name, shape[0], shape[1:], like.dtype, like.device)
        # Stored after `take`, which drops all views when a buffer must grow.
        workspace.views[key] = TimeBuffer(values_KSBN, blocks)
    buffer: TimeBuffer = workspace.views[key]
    return buffer
