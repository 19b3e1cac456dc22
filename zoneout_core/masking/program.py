"""Mask programs: which masks a trial asks for, as plain data. Imports no torch.

A program says at which sites of a step masks stand, along which axes a draw is shared, and what
stands for them in an evaluation. `zoneout_core.masking.masks` turns programs into tensors; cells
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
"""Where a mask enters.

    embedding     gain on rows of the embedding, [1, B, V] per sequence (by word type)
    inputs        gain on what a layer reads
    recurrent     gain on h_{t-1} where the products read it
    update        gain on i * g (LSTM), on n (GRU): what is about to be written
    cells         gain on the candidate cell c~, also where the state reads it
    carried       gain on the candidate cell c~ only as it is carried on
    states        gain on the candidate state h~
    gate          the output gate's mask, 1 = updated (spec 9.5)
    uniform       no mask, but numbers from 0 to 1 with which a cell draws its own (spec 9.15)
    keep_cells    1 = the cell keeps its old value (zoneout)
    keep_states   1 = the state keeps its old value (zoneout)
    outputs       gain on the last layer's output, before the softmax
"""
SITES: tuple[Site, ...] = get_args(Site)
Axis = Literal["update", "time", "batch", "unit"]
"""What a draw may be shared along: all updates (static), all steps, all examples, all units of a
layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """One mask of a program: a value for every (update, step, example, unit) of every layer at one
    site.

    Masks of several regularizers at one site act together: gains multiply, and a value is kept if
    either keeps it.
    """

    site: Site
    key: str
    """Key of the setting that asks for it, for messages: `regularizer.zoneout.z_cells`."""
    strength: float | str
    """The value of that setting, for messages."""
    probability: float
    """P(mask = 1): of letting through at a gain, of preserving at `keep_*`."""
    expected: float | None
    """The number that replaces the mask in an evaluation; None: it is drawn there too, from other
    streams."""
    stream: str
    """The name of its random stream, `masks_...`. Masks of one stream draw the same numbers. Never
    rename a stream: another name gives other numbers."""
    scale: float = 1.0
    """What a drawn mask is multiplied with in training: 1 / (1 - p) where dropout is inverted."""
    shared: frozenset[Axis] = frozenset()
    flipped: bool = False
    """The mask is 0 where the stream's numbers would make another one 1: what zoneout with z = 1 -
    `probability` preserves."""
    kind: Literal["bernoulli", "gaussian", "uniform"] = "bernoulli"
    """`gaussian`: real numbers with the mean and variance of the 0/1 mask (spec 9.13). `uniform`:
    from 0 to 1; a cell takes its own expectation where there are none."""
    spread: float = 0.0
    """Units have rates of their own, spread evenly over probability +- spread
    (clipped to 0..1)."""
    layers: Literal["all", "first", "later"] = "all"
    """Which recurrent layers it stands in."""
    gates: bool = False
    """A mask for each gate of the layer (untied variational dropout): one more axis before the
    units."""
    static: bool = False
    """In an evaluation the very masks of training stand, step for step, and not `expected` (spec
    8.2)."""
    passes: int = 0
    """How many Monte Carlo passes a final evaluation makes with this mask drawn (spec 9.7); 0 =
    none."""
    form: str = ""
    """Of the output gate: which of the variants of spec 9.5."""

    @property
    def site_key(self) -> str:
        """The name by which a kernel knows the mask: its site, and its form there, such as `gate
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
    """A mask that setting `key` asks for and that is 0 with probability p. Evaluations multiply
    with 1 - p unless it is inverted: divided by 1 - p in training."""
    let_through = 1 - p
    if inverted:
        further |= {"expected": 1.0, "scale": 1 / let_through}
    else:
        further |= {"expected": let_through}
    return Mask(site=site, key=key, strength=p, stream=stream, probability=let_through, **further)


def changed(program: Program, streams: tuple[str, ...], **values: Any) -> Program:
    """The program with fields of the masks of these streams replaced."""
    return tuple(replace(mask, **values) if mask.stream in streams else mask for mask in program)


def sampled(program: Program) -> Program:
    """The program whose masks are drawn in evaluations too, where expectations would stand for
    them."""
    return tuple(replace(mask, expected=None) for mask in program)


def monte_carlo(program: Program) -> tuple[int, Program]:
    """How many passes a Monte Carlo evaluation makes, and the program whose evaluation masks are
    drawn in each.

    0 passes: there is none, and expectations stand for the masks everywhere.
    """
    drawn = tuple(replace(mask, expected=None) if mask.passes else mask for mask in program)
    return max((mask.passes for mask in program), default=0), drawn
