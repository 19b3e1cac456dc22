"""All that decides the masks of one layer of one lane, as one value; `masks.layer_sites` draws
them."""

from dataclasses import dataclass

import torch

from zoneout_core.masking.places import Places
from zoneout_core.masking.program import Program


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerShape:
    """The sizes of a layer's masks."""

    steps: int
    """T"""
    batch: int
    """B"""
    inputs: int
    """D; 1 where the layer reads symbols, since a gain scales a one-hot vector as a whole. V for an
    embedding."""
    hidden: int
    """H"""
    gates: int = 4
    first: bool | None = None
    """Whether the layer reads the inputs of the network; None: only layer 0 does. (The layers of a
    decoder are numbered after those of its encoder.)"""
    places: Places | None = None
    """The places that an evaluation reads, anywhere in the data and any number of steps; T is then
    the period of static masks. None: T steps from the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDraw:
    """Which masks are drawn, for which layer, and from which random streams. Equal values give
    equal masks."""

    program: Program
    shape: LayerShape
    layer: int
    """The index of the layer among all layers of the lane."""
    seed: int
    """The trial's seed."""
    counter: int
    """The update; in an evaluation, the number of the pass over the data."""
    evaluation: bool = False
    """Whether expectations replace all masks that have one. The other masks are drawn from separate
    streams."""
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    """The type of masks that hold real numbers. Masks of zeros and ones are bool."""
