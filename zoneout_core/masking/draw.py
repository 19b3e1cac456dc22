"""All that decides the masks of one layer of one lane, as one value."""

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
    """D; 1 where the layer reads symbols, since a gain falls on a whole one-hot vector. V for an
    embedding."""
    hidden: int
    """H"""
    gates: int = 4
    first: bool | None = None
    """Whether the layer reads what the network reads; None: if it is layer 0. (A decoder's layers
    are numbered on from its encoder's.)"""
    places: Places | None = None
    """The places that an evaluation reads, at any position of the data and of any number of steps;
    T is the period of static masks then. None: T steps from the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDraw:
    """What is drawn, for which layer, and from which random streams. Equal values give equal
    masks."""

    program: Program
    shape: LayerShape
    layer: int
    """The number of the layer among all layers of the lane."""
    seed: int
    """The trial's seed."""
    counter: int
    """The update; in an evaluation the number of the pass over the data."""
    evaluation: bool = False
    """Whether expectations stand for all masks that have one. The others are drawn from streams of
    their own."""
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    """The type of masks that hold real numbers. Masks of zeros and ones are bool."""
