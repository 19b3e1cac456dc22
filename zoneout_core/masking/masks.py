"""Mask programs become tensors: drawn in training, expectations in an evaluation (spec section 9).

Masks are drawn as 16-bit words: one 64-bit random number decides four positions, which makes a draw
about ten times as fast as `bernoulli_`; the price is that a probability is rounded to a multiple of
2^-16 (an error of at most 7.7e-6). 0 and 1 are exact. Every draw has a stream of its own
(`zoneout_core.masking.streams`), and an axis along which a mask is shared has size 1.

T steps, B batch, U units (D of what a layer reads at site `inputs`, H elsewhere), K lanes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from math import isnan, nan, sqrt
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from zoneout_core.masking import sites, streams
from zoneout_core.masking.program import Mask
from zoneout_core.masking.sites import Sites

Program = tuple[Mask, ...]
"""The masks of all regularizers of a trial."""
LEVELS = 2**16
BLOCK = 50
"""Places of a text whose masks one stream draws in an evaluation."""


class Places(NamedTuple):
    """Where an evaluation reads: T steps of B sequences. What is drawn for a place does not depend
    on how the data are cut into pieces."""

    steps_TB: Tensor
    """Steps of its sequence that came before, [T, B] or [T, 1]: static masks begin anew every
    `LayerShape.steps`."""
    numbers_TB: Tensor
    """Of the places, in all the data: a mask is drawn for each."""
    sequences_B: Tensor
    """Numbers of the sequences: a mask that is shared along time is drawn for each. A stream is one
    sequence."""

    @classmethod
    def of_examples(cls, first: int, batch: int, steps: int, device: torch.device) -> "Places":
        """T = `steps` steps of `batch` examples of a set, from number `first` on."""
        steps_T1 = torch.arange(steps, device=device).unsqueeze(1)
        examples_B = torch.arange(first, first + batch, device=device)
        return cls(steps_T1, examples_B * steps + steps_T1, examples_B)

    @classmethod
    def of_chunks(cls, starts_B: Tensor, length: int, device: torch.device) -> "Places":
        """The chunks of a text that begin at multiples of `length`; each predicts all its symbols
        but the first."""
        starts_B = starts_B.to(device)
        steps_T1 = torch.arange(length - 1, device=device).unsqueeze(1)
        return cls(steps_T1, starts_B + steps_T1, starts_B // length)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """How large the masks of a layer are."""

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
    """Whether it reads what the network reads; None: if it is layer 0. (A decoder's layers are
    numbered on from its encoder's.)"""
    places: Places | None = None
    """Where an evaluation reads, which may be anywhere in the data and take any number of steps; T
    is the period of static masks then. None: T steps from the start."""


def drawn(
    program: Program,
    shape: LayerShape,
    layer: int,
    seed: int,
    step: int,
    device: torch.device | str = "cpu",
    evaluation: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Sites:
    """The masks of one layer of one lane: bool, or `dtype` where they are no 0/1 masks.

    layer: its number among all layers of the lane. step: the update. evaluation: expectations stand
    for all masks that have one; those that have none are drawn from streams of their own, and
    `step` is then the pass over the data.
    """
    found: dict[str, Any] = {}
    for mask in program:
        if mask.site in sites.NAMES and _stands(mask, shape, layer):
            value = _value(mask, shape, layer, seed, step, device, evaluation, dtype)
            if value is not None:
                found[mask.site] = _together(mask.site, found.get(mask.site), value)
                if mask.site == "gate":
                    found["gate_form"] = mask.form
    return Sites(**found)


def expected(
    program: Program,
    shape: LayerShape,
    layer: int,
    seed: int,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Sites:
    """What stands for the masks in an evaluation: numbers [1, 1, 1], of each unit [1, 1, U], or
    static masks."""
    return drawn(program, shape, layer, seed, 0, device, True, dtype)


def outputs_gain(
    program: Program,
    shape: LayerShape,
    layer: int,
    seed: int,
    step: int,
    device: torch.device | str = "cpu",
    evaluation: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor | None:
    """The gain on the last layer's output, as `drawn` draws: broadcasts to [T, B, H]."""
    return _gain("outputs", program, shape, layer, seed, step, device, evaluation, dtype)


def embedding_gain(
    program: Program,
    shape: LayerShape,
    layer: int,
    seed: int,
    step: int,
    device: torch.device | str = "cpu",
    evaluation: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor | None:
    """The gain on each of V = `shape.inputs` symbols in each sequence, as `drawn` draws: [1, B,
    V]."""
    return _gain("embedding", program, shape, layer, seed, step, device, evaluation, dtype)


def stack(lanes: Sequence[Sites]) -> Sites:
    """The sites of K lanes: [K, ...]. What only some lanes have is 1 in the others, or 0 at
    `keep_*`: no mask.

    Lanes whose output gates are masked must agree in `gate_form`, which is part of the shape key.
    """
    forms = {lane.gate_form for lane in lanes if lane.gate is not None}
    assert len(forms) <= 1, f"lanes with different forms of the output gate: {forms}"
    stacked = {
        name: stack_gains([getattr(lane, name) for lane in lanes], _neutral(name))
        for name in sites.NAMES
    }
    return Sites(**stacked, gate_form="".join(forms))


def stack_gains(gains: Sequence[Tensor | None], neutral: float = 1.0) -> Tensor | None:
    """One mask of K lanes, [K, ...]: `neutral` in lanes that have none, None where no lane has
    one."""
    present = [gain for gain in gains if gain is not None]
    assert len(present) in (0, len(gains)) or not isnan(neutral), (
        "all lanes draw masks of their own, or none"
    )
    if not present:
        return None
    axes = max(gain.dim() for gain in present)
    dtype = reduce(torch.promote_types, (gain.dtype for gain in present))
    without = present[0].new_full((1,) * axes, neutral, dtype=dtype)
    aligned = [without if gain is None else _with_axes(gain, axes).to(dtype) for gain in gains]
    if len(aligned) > 1:
        return torch.stack(torch.broadcast_tensors(*aligned))
    return aligned[0].unsqueeze(0)


def draw_(mask: Tensor, z: float, generator: Generator, words: Tensor | None = None) -> Tensor:
    """Fill `mask` (bool, any shape, contiguous or a lane of a contiguous buffer) with P(True) = z;
    returns it.

    z: probability of preserving, rounded to a multiple of 2^-16. z = 0 and z = 1 draw nothing.
    generator: on the mask's device, at the start of its stream (`zoneout_core.masking.streams`).
    words: scratch from `words_for(mask.numel(), device)`, to spare an allocation; its content is
    overwritten.
    """
    assert mask.dtype == torch.bool, mask.dtype
    assert 0.0 <= z <= 1.0, z
    preserved = round(z * LEVELS)
    if preserved in (0, LEVELS):
        return mask.fill_(preserved == LEVELS)
    return torch.lt(_words_like(mask, generator, words), preserved - LEVELS // 2, out=mask)


def words_for(positions: int, device: torch.device | str) -> Tensor:
    """Scratch for `draw_`: enough int64 for `positions` 16-bit words."""
    return torch.empty((positions + 3) // 4, dtype=torch.int64, device=device)


def rates(mask: Mask, units: int, device: torch.device | str) -> Tensor:
    """P(mask = 1) of each unit, [U] float64: spread evenly over one +- spread, within 0..1."""
    if units == 1 or mask.spread == 0:
        return torch.full((units,), mask.one, dtype=torch.float64, device=device)
    low, high = mask.one - mask.spread, mask.one + mask.spread
    return torch.linspace(low, high, units, dtype=torch.float64, device=device).clamp_(0, 1)


def _words_like(mask: Tensor, generator: Generator, words: Tensor | None) -> Tensor:
    if words is None:
        words = words_for(mask.numel(), mask.device)
    # Without the explicit lower bound, random_() leaves the sign bit 0, and with it that of every
    # fourth word.
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[: mask.numel()].view(mask.shape)


def _stands(mask: Mask, shape: LayerShape, layer: int) -> bool:
    if mask.site == "inputs" and shape.inputs == 1 and "time" in mask.shared:
        return False  # one draw would silence the sequence; `embedding` drops symbols by type
    if shape.first is None:
        first = layer == 0
    else:
        first = shape.first
    return mask.layers == "all" or (mask.layers == "first") == first


def _axes(mask: Mask, shape: LayerShape) -> tuple[int, ...]:
    if mask.site in ("inputs", "embedding"):
        units = shape.inputs
    else:
        units = shape.hidden
    steps, batch, units = (
        1 if axis in mask.shared else size
        for axis, size in (("time", shape.steps), ("batch", shape.batch), ("unit", units))
    )
    if mask.gates:
        return (steps, batch, shape.gates, units)
    return (steps, batch, units)


def _neutral(site: str) -> float:
    if site == "uniform":
        return nan  # no number stands for a cell's own expectation
    if site.startswith("keep_"):
        return 0.0
    return 1.0


def _together(site: str, first: Tensor | None, second: Tensor) -> Tensor:
    """Two masks at one site: both let through, or either keeps."""
    if first is None:
        return second
    assert site not in (
        "gate",
        "uniform",
    ), "the output gate has one mask, and a cell one set of numbers"
    axes = max(first.dim(), second.dim())
    first, second = _with_axes(first, axes), _with_axes(second, axes)
    both = first * second
    if not site.startswith("keep_"):
        return both
    if both.dtype == torch.bool:
        return first | second
    return first + second - both


def _with_axes(mask: Tensor, axes: int) -> Tensor:
    if mask.dim() == axes:
        return mask
    return mask.unsqueeze(-2)


def _gain(
    site: str,
    program: Program,
    shape: LayerShape,
    layer: int,
    seed: int,
    step: int,
    device: Any,
    *how: Any,
) -> Tensor | None:
    masks = (mask for mask in program if mask.site == site)
    found = [_value(mask, shape, layer, seed, step, device, *how) for mask in masks]
    present = [value for value in found if value is not None]
    if present:
        return reduce(torch.mul, present)
    return None


def _value(
    mask: Mask,
    shape: LayerShape,
    layer: int,
    seed: int,
    step: int,
    device: Any,
    evaluation: bool,
    dtype: Any,
) -> Tensor | None:
    """What stands at the mask's site; None where that changes nothing."""
    axes = _axes(mask, shape)
    if evaluation and mask.expected is not None and not mask.static:
        if mask.kind == "uniform" or (mask.spread == 0 and mask.expected == _neutral(mask.site)):
            return None
        units = rates(replace(mask, one=mask.expected), axes[-1] if mask.spread else 1, device)
        return units.to(dtype).view(*(1,) * (len(axes) - 1), -1)
    evaluation = evaluation and not mask.static
    if "update" in mask.shared:
        value = _static(mask, axes, layer, seed, torch.device(device), evaluation)
        if shape.places is not None and len(value) > 1:
            value = value[shape.places.steps_TB % len(value)].squeeze(2)
    elif evaluation and shape.places is not None:
        value = _at_places(mask, axes, shape.places, layer, seed, step, device)
    else:
        purpose = streams.masks(mask.stream, layer, evaluation=evaluation)
        value = _draw(mask, axes, streams.generator(seed, purpose, step, device))
    if mask.scale != 1 or value.dtype != torch.bool:
        return value.to(dtype) * mask.scale
    return value


@lru_cache(maxsize=64)
def _static(
    mask: Mask, axes: tuple[int, ...], layer: int, seed: int, device: torch.device, evaluation: bool
) -> Tensor:
    """Masks that are drawn once for all updates, step by step: those of a shorter run are the first
    of a longer."""
    purpose = streams.masks(mask.stream, layer, evaluation=evaluation, static=True)
    draws = [
        _draw(mask, (1, *axes[1:]), streams.generator(seed, purpose, t, device))
        for t in range(axes[0])
    ]
    return torch.cat(draws)


def _at_places(
    mask: Mask, axes: tuple[int, ...], places: Places, layer: int, seed: int, step: int, device: Any
) -> Tensor:
    """The masks of an evaluation: one for each place, for each sequence where time shares it, or
    for each step where examples share it."""
    assert not {"time", "batch"} <= mask.shared, "what the whole evaluation shares is no mask"
    if "time" in mask.shared:
        numbers_TB = places.sequences_B.unsqueeze(0)
    else:
        if "batch" in mask.shared:
            numbers_TB = places.steps_TB
        else:
            numbers_TB = places.numbers_TB
    blocks, which_TB = (numbers_TB // BLOCK).unique(return_inverse=True)
    drawn = []
    for block in blocks.tolist():
        purpose = streams.masks(mask.stream, layer, evaluation=True, block=block)
        drawn.append(
            _draw(mask, (BLOCK, *axes[2:]), streams.generator(seed, purpose, step, device))
        )
    return torch.cat(drawn)[which_TB * BLOCK + numbers_TB % BLOCK]


def _draw(mask: Mask, axes: tuple[int, ...], generator: Generator) -> Tensor:
    if mask.flipped:
        other = _draw(replace(mask, one=1 - mask.one, flipped=False), axes, generator)
        if other.dtype == torch.bool:
            return ~other
        return 1 - other
    device = generator.device
    if mask.kind == "uniform":
        return torch.rand(axes, generator=generator, device=device)
    if mask.kind == "gaussian":
        normal = torch.randn(axes, generator=generator, device=device)
        if not mask.spread:
            return normal * sqrt(mask.one * (1 - mask.one)) + mask.one
        ones_U = rates(mask, axes[-1], device).float()
        return normal * (ones_U * (1 - ones_U)) ** 0.5 + ones_U
    value = torch.empty(axes, dtype=torch.bool, device=device)
    if mask.spread == 0:
        return draw_(value, mask.one, generator)
    thresholds_U = (rates(mask, axes[-1], device) * LEVELS).round_().int() - LEVELS // 2
    return torch.lt(_words_like(value, generator, None), thresholds_U, out=value)
