"""The positions of a lane's numbers in its row of P numbers. Lanes are initialised, updated, moved
and saved as rows."""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

ALIGNMENT = 64
"""Parts begin at multiples of this many numbers, so that they are aligned alike in every slot."""


class Layout:
    """The trained parts come first, then the parts that are kept with the lane: running statistics
    and carried states. The gaps between parts are and stay zero."""

    def __init__(self, trained: Shapes, kept: Shapes | None = None) -> None:
        self.shapes = dict(trained)
        self.kept = dict(kept or {})
        assert not self.shapes.keys() & self.kept.keys()
        self.offsets: dict[str, int] = {}
        self.trained_size = self._place(self.shapes, 0)
        """Numbers that the optimizer updates, gaps included."""
        self.size = self._place(self.kept, self.trained_size)
        """P, gaps included."""

    def _place(self, shapes: Shapes, start: int) -> int:
        for name, shape in shapes.items():
            self.offsets[name] = start
            start += -(-prod(shape) // ALIGNMENT) * ALIGNMENT
        return start

    @property
    def count(self) -> int:
        """The number of trained parameters: 4,256,050 for the paper's character model."""
        return sum(prod(shape) for shape in self.shapes.values())

    def views(self, rows_KP: Tensor) -> dict[str, Tensor]:
        """Each trained part of K lanes as a view [K, *shape] into their rows; each lane's part is
        contiguous."""
        return self._views(rows_KP, self.shapes)

    def kept_views(self, rows_KP: Tensor) -> dict[str, Tensor]:
        """The same for the kept parts."""
        return self._views(rows_KP, self.kept)

    def _views(self, rows_KP: Tensor, shapes: Shapes) -> dict[str, Tensor]:
        return {
            name: rows_KP[:, self.offsets[name] : self.offsets[name] + prod(shape)].unflatten(
                1, shape
            )
            for name, shape in shapes.items()
        }

    def row(self, values: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """A row [P] of all trained parts and some of the kept ones; the others are zero."""
        row_P = torch.zeros(self.size, dtype=dtype)
        views = self.views(row_P[None]) | self.kept_views(row_P[None])
        assert self.shapes.keys() <= values.keys() <= views.keys()
        for name, value in values.items():
            views[name][0] = value
        return row_P
