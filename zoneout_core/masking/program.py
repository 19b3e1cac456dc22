"""Mask programs: the masks that a trial needs, as plain data. Imports no torch.

A program says at which sites of a step masks act, along which axes a draw is shared, and what
replaces them in an evaluation. `zoneout_core.masking.drawing` turns programs into tensors; cells
apply them in the order of spec section 9.16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Site = Literal[
    "embedding",
    "inputs",
    "recurrent",
    "update",
    "cells",
    "carried",
    "states",
    "gate",
    "uniform",
    "keep_cells",
    "keep_states",
    "outputs",
]
"""The place in a step where a mask acts.

    embedding     gain on rows of the embedding, [1, B, V] per sequence (by word type)
    inputs        gain on the inputs of a layer
    recurrent     gain on h_{t-1} where the products read it
    update        gain on what is about to be written: i * g (LSTM), n (GRU)
    cells         gain on the candidate cell c~, also where the state reads it
    carried       gain on the candidate cell c~, only where it is carried to the next step
    states        gain on the candidate state h~
    gate          the output gate's mask, 1 = updated (spec 9.5)
    uniform       no mask, but numbers from 0 to 1 with which a cell draws masks (spec 9.15)
    keep_cells    1 = the cell keeps its old value (zoneout)
    keep_states   1 = the state keeps its old value (zoneout)
    outputs       gain on the last layer's output, before the softmax
"""
SITES: tuple[Site, ...] = get_args(Site)
Axis = Literal["update", "time", "batch", "unit"]
"""An axis along which a draw may be shared: all updates (static), all steps, all examples, all
units of a layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """One mask of a program: a value for every (update, step, example, unit) of every layer at one
    site.

    Masks of several regularizers at the same site act together: gains multiply, and a value is kept
    if any of them keeps it.
    """

    site: Site
    key: str
    """Key of the setting that causes it, for messages: `regularizer.zoneout.z_cells`."""
    strength: float | str
    """The value of that setting, for messages."""
    probability: float
    """P(mask = 1): that a gain lets through, or that `keep_*` preserves."""
    expected: float | None
    """The number that replaces the mask in an evaluation; None: it is drawn there too, from other
    streams."""
    stream: str
    """The name of its random stream, `masks_...`. Masks with the same stream draw the same numbers.
    Never rename a stream: another name gives other numbers."""
    scale: float = 1.0
    """The factor of a drawn mask in training: 1 / (1 - p) where dropout is inverted."""
    shared: frozenset[Axis] = frozenset()
    flipped: bool = False
    """Whether the mask is the complement of the one that its stream draws with 1 - `probability`:
    0 where zoneout with that z preserves."""
    kind: Literal["bernoulli", "gaussian", "uniform"] = "bernoulli"
    """`gaussian`: real numbers with the mean and variance of the 0/1 mask (spec 9.13). `uniform`:
    numbers from 0 to 1; without them a cell uses its own expectation."""
    spread: float = 0.0
    """The rates of the units are spread evenly over probability +- spread (clipped to 0..1)."""
    layers: Literal["all", "first", "later"] = "all"
    """The recurrent layers that have it."""
    gates: bool = False
    """Whether each gate of the layer has its own mask (untied variational dropout): one more axis
    before the units."""
    static: bool = False
    """Whether an evaluation uses the masks of training, step for step, and not `expected` (spec
    8.2)."""
    passes: int = 0
    """Number of Monte Carlo passes of a final evaluation with this mask drawn (spec 9.7); 0 =
    none."""
    form: str = ""
    """The variant of the output gate (spec 9.5)."""

    @property
    def site_key(self) -> str:
        """The name by which kernels know the mask: its site and its form, such as `gate
        intent`."""
        words: list[str] = [self.site]
        if self.gates:
            words.append("by gate")
        if self.form:
            words.append(self.form)
        return " ".join(words)


Program = tuple[Mask, ...]
"""The masks of all regularizers of a trial."""


def dropout(
    site: Site, key: str, p: float, *, stream: str, inverted: bool = False, **further: Any
) -> Mask:
    """The mask of setting `key`, which is 0 with probability p. Evaluations multiply by 1 - p,
    unless it is inverted: divided by 1 - p in training."""
    let_through = 1 - p
    if inverted:
        further |= {"expected": 1.0, "scale": 1 / let_through}
    else:
        further |= {"expected": let_through}
    return Mask(site=site, key=key, strength=p, stream=stream, probability=let_through, **further)


def changed(program: Program, streams: tuple[str, ...], **values: Any) -> Program:
    """The program with some fields replaced in the masks of these streams."""
    return tuple(replace(mask, **values) if mask.stream in streams else mask for mask in program)


def sampled(program: Program) -> Program:
    """The program with masks that are drawn in evaluations too, not replaced by expectations."""
    return tuple(replace(mask, expected=None) for mask in program)


def monte_carlo(program: Program) -> tuple[int, Program]:
    """The number of passes of a Monte Carlo evaluation, and the program whose masks each of them
    draws.

    0 passes: there is no such evaluation, and expectations replace the masks everywhere.
    """
    drawn = tuple(replace(mask, expected=None) if mask.passes else mask for mask in program)
    return max((mask.passes for mask in program), default=0), drawn
