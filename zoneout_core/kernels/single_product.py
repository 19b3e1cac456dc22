"""The base of kernels whose gates all read one product, that of h with all of U."""

from collections.abc import Sequence
from typing import final

from torch import Tensor

from zoneout_core.kernels.sequence import Pass


class SingleProductPass(Pass):
    """A pass with one product per lane and step, as in an LSTM or a plain RNN."""

    @final
    def prepare_weights(self, *, transposed: bool) -> None:
        self.u_prepared = self.prepared(self.u, transposed=transposed)

    @final
    def add_recurrent(self, t: int, slot: int) -> None:
        """a += (v h) U of each lane."""
        vh_lanes = self.masked_state(t).lanes[t % len(self.vh)]
        for a, vh, u in zip(self.a.lanes[slot], vh_lanes, self.u_prepared, strict=True):
            self.product.add_(a, vh, u)

    @final
    def add_recurrent_gradient(self, t: int, dh_lanes: Sequence[Tensor]) -> None:
        self.add_products(t, self.da.lanes[t], self.u_prepared, dh_lanes)

    @final
    def recurrent_weight_gradient(self, k: int, dG_operand: Tensor) -> Tensor:
        return self.product.multiply(self.masked_states(k).t(), dG_operand)

    @final
    def further_gradients(self, k: int) -> tuple[Tensor, ...]:
        return ()
