"""A buffer of the workspace that holds something for every time step, cut into views once."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from zoneout_core.kernels.workspace import Workspace


@dataclass(frozen=True)
class Series:
    """S slots of [K, B, N]. A pass that keeps nothing has fewer slots than steps: index with `t %
    len(series)`.

    Cutting views anew at every step would cost as much as the arithmetic.
    """

    whole_KSBN: Tensor
    blocks: int = 1
    """How many things lie side by side in N."""

    def __len__(self) -> int:
        return self.whole_KSBN.shape[1]

    @cached_property
    def steps(self) -> list[Tensor]:
        """`steps[s]` is slot s of all lanes, [K, B, N]."""
        return list(self.whole_KSBN.unbind(1))

    @cached_property
    def lanes(self) -> list[list[Tensor]]:
        """`lanes[s][k]` is slot s of lane k, [B, N]."""
        return [list(step.unbind(0)) for step in self.steps]

    @cached_property
    def parts(self) -> list[tuple[Tensor, ...]]:
        """`parts[s][j]` is block j of slot s, [K, B, N / blocks]."""
        return [step.chunk(self.blocks, dim=-1) for step in self.steps]

    def leading(self, blocks: int) -> "Series":
        """The first `blocks` blocks of every slot."""
        return Series(
            self.whole_KSBN[..., : blocks * self.whole_KSBN.shape[-1] // self.blocks], blocks
        )


def take(
    ws: Workspace, name: str, shape: tuple[int, int, int, int], like: Tensor, blocks: int = 1
) -> Series:
    """The series `name` of shape (K, S, B, N), in the dtype and on the device of `like`; views are
    kept with it."""
    key = (name, shape, like.dtype, like.device, blocks)
    if key not in ws.views:
        made = Series(ws.take(name, shape[0], shape[1:], like.dtype, like.device), blocks)
        ws.views[key] = made  # after taking: a buffer that had to grow has emptied the views
    found: Series = ws.views[key]
    return found
