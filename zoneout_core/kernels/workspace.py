"""Buffers of the lane-native recurrence. The caller owns them and reuses them for every update."""

from math import prod
from typing import Any

import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes. The bits of a product may depend on the address of an operand, so every lane starts at
such a boundary."""


class Workspace:
    """Named buffers with the lane axis first. The lanes in use come first, so a pack may grow and
    shrink.

    A workspace serves one forward pass and its backward pass at a time. The next `recurrence` with
    it overwrites the outputs of this one; last states are copies and stay valid.
    """

    def __init__(self) -> None:
        self.uses = 0
        """Forward passes so far. It tells `backward` whether the buffers still hold its pass."""
        self.views: dict[Any, Any] = {}
        """Views that a kernel keeps between steps, by shape; emptied when a buffer moves."""
        self._flat: dict[str, Tensor] = {}

    def take(
        self,
        name: str,
        lanes: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Tensor:
        """A [lanes, *shape] buffer with undefined content whose lanes start at 64-byte
        boundaries."""
        per_lane = prod(shape)
        unit = ALIGNMENT // dtype.itemsize
        stride = -(-per_lane // unit) * unit
        flat = self._flat.get(name)
        if (
            flat is None
            or flat.numel() < lanes * stride
            or flat.dtype != dtype
            or flat.device != device
        ):
            flat = self._flat[name] = torch.empty(lanes * stride, dtype=dtype, device=device)
            self.views.clear()
        return flat[: lanes * stride].view(lanes, stride)[:, :per_lane].view(lanes, *shape)

    def aligned(self, name: str, x: Tensor, dtype: torch.dtype) -> Tensor:
        """`x` [K, ...] as `dtype`, with contiguous lanes at 64-byte boundaries: `x` itself if it is
        like that, else a copy."""
        lane_bytes = 0
        if x.shape[0] > 1:
            lane_bytes = x.stride(0) * x.element_size()
        is_aligned = x.data_ptr() % ALIGNMENT == 0 and lane_bytes % ALIGNMENT == 0
        if x.dtype == dtype and x[0].is_contiguous() and is_aligned:
            return x
        return self.take(name, x.shape[0], tuple(x.shape[1:]), dtype, x.device).copy_(x)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(flat.nbytes for flat in self._flat.values())

    def fill_(self, value: float) -> None:
        """Overwrite all buffers, so that tests can show that nothing is read before it is
        written."""
        for flat in self._flat.values():
            flat.fill_(value)
