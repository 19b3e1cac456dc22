"""The plain recurrent network of K lanes: n = tanh(x W + (v h') U + b) or with a rectifier, h = z
h' + (1 - z) d n.

A prime marks the previous step. Masks: v recurrent, d states, z keep_states.
"""

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from zoneout_core.cells.rnn import RNN
from zoneout_core.kernels.pass_inputs import PassInputs
from zoneout_core.kernels.pointwise import mix, scale_, split_, tanh, tanh_gradient_
from zoneout_core.kernels.single_product import SingleProductPass
from zoneout_core.kernels.time_buffer import TimeBuffer


@final
class RNNPass(SingleProductPass):
    """A single block, n."""

    BLOCKS: ClassVar[int] = 1
    SETTINGS: ClassVar[dict[str, tuple[Any, ...]]] = {"activation": ("tanh", "relu")}

    def __init__(self, inputs: PassInputs) -> None:
        super().__init__(inputs)
        assert isinstance(self.cell, RNN)
        self.relu = self.cell.activation == "relu"
        self.states = self.site("states")
        self.keep_states = self.site("keep_states")

    @property
    def carried(self) -> list[TimeBuffer]:
        return [self.h]

    def step(self, t: int, slot: int) -> None:
        self.add_recurrent(t, slot)
        n = self.a.steps[slot]
        if self.relu:
            n.clamp_min_(0)
        else:
            tanh(n, self.a.lanes[slot], self.scratch[0], out=n)
        new, scratch = self.scratch[:2]
        states = self.states[t]
        if states is not None:
            n = torch.mul(n, states, out=new)
        mix(self.keep_states[t], self.h.steps[t], n, scratch, out=self.h.steps[t + 1])

    def back(self, t: int, dh: Tensor, dh_kept: Tensor, dstates: list[Tensor]) -> None:
        """da = n' (1 - z) d dh, where n' is 1 - n^2 or 1 where n > 0."""
        n = self.a.steps[t]
        split_(dh, self.keep_states[t], dh_kept)
        scale_(dh, self.states[t])
        if self.relu:
            torch.ops.aten.threshold_backward.grad_input(dh, n, 0, grad_input=n)
        else:
            tanh_gradient_(dh, n)
