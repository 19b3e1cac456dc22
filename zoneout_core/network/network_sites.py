"""The masks of a whole network, for K lanes."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from zoneout_core.masking.sites import NONE, Sites


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSites:
    """The masks by their place in the network. The lane axis comes first, as in `Sites`; None = no
    mask there."""

    layers: tuple[Sites, ...]
    embedding: Tensor | None = None
    """Gain on word types: [K, 1, B, V]."""
    outputs: Tensor | None = None
    """Gain on the inputs of the linear layer; broadcasts to [K, T, B, U]."""

    def of_lane(self, k: int) -> "NetworkSites":
        """The masks of lane k, with a lane axis of 1."""

        def lane_of(mask: Tensor) -> Tensor:
            return mask[k : k + 1]

        return NetworkSites(
            layers=tuple(sites.map(lane_of) for sites in self.layers),
            embedding=_changed(self.embedding, lane_of),
            outputs=_changed(self.outputs, lane_of),
        )

    def of_step(self, t: int) -> "NetworkSites":
        """The masks of step t, with a time axis of 1."""

        def step_of(mask: Tensor) -> Tensor:
            if mask.shape[1] == 1:
                return mask
            return mask[:, t : t + 1]

        return NetworkSites(
            layers=tuple(sites.map(step_of) for sites in self.layers),
            embedding=self.embedding,
            outputs=_changed(self.outputs, step_of),
        )


def unmasked(layers: int) -> NetworkSites:
    """No masks anywhere."""
    return NetworkSites(layers=(NONE,) * layers)


def _changed(mask: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    if mask is None:
        return None
    return change(mask)
