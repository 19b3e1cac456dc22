"""The arguments of a kernel, as one value."""

from dataclasses import dataclass

from torch import Tensor

from zoneout_core.cells import Cell
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.workspace import Workspace
from zoneout_core.masking.sites import Sites


@dataclass(frozen=True, kw_only=True, slots=True)
class PassInputs:
    """The arguments of one pass over T steps of K lanes."""

    cell: Cell
    x: Tensor
    """Tokens [K, T, B], or dense inputs [K, T, B, D], already scaled by their mask."""
    parameters: tuple[Tensor, ...]
    """In the order of `Pass.PARAMETERS`, each [K, ...]."""
    states: tuple[Tensor, ...]
    """Before the first step, in the order of `Pass.carried`: each [K, B, H], or [K, 1, H] for all
    examples."""
    sites: Sites
    product: MatMul
    workspace: Workspace
    keep: bool
    """Whether the activations of every step are kept, for a backward pass."""
    trajectories: bool
    """Whether `forward` returns all states of every step, not h alone."""

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The tensors that may need a gradient."""
        return (self.x, *self.parameters, *self.states)
