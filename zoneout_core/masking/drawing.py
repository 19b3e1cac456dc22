"""Mask programs become tensors: drawn in training, expectations in an evaluation (spec section 9).

Every mask has its own random stream (`zoneout_core.masking.streams`). An axis along which a mask is
shared has size 1.

T steps, B batch, U units (D of what a layer reads at site `inputs`, H elsewhere), K lanes.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any

import torch
from torch import Tensor

from zoneout_core.masking import sites, streams
from zoneout_core.masking.mask_values import rates, sample
from zoneout_core.masking.places import Places
from zoneout_core.masking.program import Mask, Program, Site
from zoneout_core.masking.sites import Sites
from zoneout_core.masking.stacking import combine, neutral

BLOCK = 50
"""In an evaluation, one stream draws the masks of this many places of the data."""


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


def layer_sites(draw: MaskDraw) -> Sites:
    """The masks of one layer of one lane, by site.

    Drawn masks are bool [T, B, U], or `draw.dtype` where they hold real numbers. In an evaluation
    they are replaced by expectations: numbers [1, 1, 1], or [1, 1, U] where units differ.
    """
    tensors: dict[str, Any] = {}
    for mask in draw.program:
        if mask.site not in sites.NAMES or not _stands(mask, draw):
            continue
        value = _value(mask, draw)
        if value is None:
            continue
        tensors[mask.site] = combine(mask.site, tensors.get(mask.site), value)
        if mask.site == "gate":
            tensors["gate_form"] = mask.form
    return Sites(**tensors)


def outputs_gain(draw: MaskDraw) -> Tensor | None:
    """The gain on the last layer's output, which broadcasts to [T, B, H]; None if there is none."""
    return _gain("outputs", draw)


def embedding_gain(draw: MaskDraw) -> Tensor | None:
    """The gain on each of V = `draw.shape.inputs` symbols in each sequence, [1, B, V]; None if
    there is none."""
    return _gain("embedding", draw)


def _gain(site: Site, draw: MaskDraw) -> Tensor | None:
    values = [_value(mask, draw) for mask in draw.program if mask.site == site]
    present = [value for value in values if value is not None]
    if not present:
        return None
    return reduce(torch.mul, present)


def _stands(mask: Mask, draw: MaskDraw) -> bool:
    """Whether the layer has this mask."""
    if mask.site == "inputs" and draw.shape.inputs == 1 and "time" in mask.shared:
        return False  # one draw would silence the sequence; `embedding` drops symbols by type
    if mask.layers == "all":
        return True
    is_first = draw.shape.first
    if is_first is None:
        is_first = draw.layer == 0
    return is_first == (mask.layers == "first")


def _sizes(mask: Mask, shape: LayerShape) -> tuple[int, ...]:
    """(T, B, U), or (T, B, gates, U) where each gate has a mask; 1 where the mask is shared."""
    units = shape.hidden
    if mask.site in ("inputs", "embedding"):
        units = shape.inputs
    axes = (("time", shape.steps), ("batch", shape.batch), ("unit", units))
    steps, batch, units = (1 if axis in mask.shared else size for axis, size in axes)
    if mask.gates:
        return (steps, batch, shape.gates, units)
    return (steps, batch, units)


def _value(mask: Mask, draw: MaskDraw) -> Tensor | None:
    """The tensor at the mask's site; None if it would change nothing."""
    sizes = _sizes(mask, draw.shape)
    if draw.evaluation and not mask.static and mask.expected is not None:
        return _expectation(mask, mask.expected, sizes, draw)
    value = _drawn(mask, sizes, draw)
    if mask.scale != 1 or value.dtype != torch.bool:
        return value.to(draw.dtype) * mask.scale
    return value


def _expectation(
    mask: Mask, expected: float, sizes: tuple[int, ...], draw: MaskDraw
) -> Tensor | None:
    """The expectation that replaces the mask: one number, or one for each unit; None if it would
    change nothing."""
    if mask.kind == "uniform" or (mask.spread == 0 and expected == neutral(mask.site)):
        return None
    units = sizes[-1] if mask.spread else 1
    rates_U = rates(replace(mask, probability=expected), units, draw.device)
    return rates_U.to(draw.dtype).view(*(1,) * (len(sizes) - 1), -1)


def _drawn(mask: Mask, sizes: tuple[int, ...], draw: MaskDraw) -> Tensor:
    """Random values from the stream that the draw addresses, not yet scaled."""
    evaluation = draw.evaluation and not mask.static
    places = draw.shape.places
    if "update" in mask.shared:
        device = torch.device(draw.device)
        static = _static(mask, sizes, draw.layer, draw.seed, device, evaluation)
        if places is None or len(static) == 1:
            return static
        return static[places.steps_TB % len(static)].squeeze(2)
    if evaluation and places is not None:
        return _at_places(mask, sizes, places, draw)
    purpose = streams.mask_purpose(mask.stream, draw.layer, evaluation=evaluation)
    generator = streams.generator(draw.seed, purpose, counter=draw.counter, device=draw.device)
    return sample(mask, sizes, generator)


@lru_cache(maxsize=64)
def _static(
    mask: Mask,
    sizes: tuple[int, ...],
    layer: int,
    seed: int,
    device: torch.device,
    evaluation: bool,
) -> Tensor:
    """Masks that are drawn once for all updates, step by step: a longer run begins with the masks
    of a shorter one."""
    purpose = streams.mask_purpose(mask.stream, layer, evaluation=evaluation, static=True)
    steps = []
    for t in range(sizes[0]):
        generator = streams.generator(seed, purpose, counter=t, device=device)
        steps.append(sample(mask, (1, *sizes[1:]), generator))
    return torch.cat(steps)


def _at_places(mask: Mask, sizes: tuple[int, ...], places: Places, draw: MaskDraw) -> Tensor:
    """The masks of an evaluation: one for each place, for each sequence where time shares it, or
    for each step where examples share it."""
    assert not {"time", "batch"} <= mask.shared, "what the whole evaluation shares is no mask"
    if "time" in mask.shared:
        numbers_TB = places.sequences_B.unsqueeze(0)
    elif "batch" in mask.shared:
        numbers_TB = places.steps_TB
    else:
        numbers_TB = places.numbers_TB
    blocks, block_index_TB = (numbers_TB // BLOCK).unique(return_inverse=True)
    samples = []
    for block in blocks.tolist():
        purpose = streams.mask_purpose(mask.stream, draw.layer, evaluation=True, block=block)
        generator = streams.generator(draw.seed, purpose, counter=draw.counter, device=draw.device)
        samples.append(sample(mask, (BLOCK, *sizes[2:]), generator))
    return torch.cat(samples)[block_index_TB * BLOCK + numbers_TB % BLOCK]
