"""Regularizers: what disturbs training. Adding one is adding a file here that exports `PART`, a
`Regularizer`.

A regularizer is a *mask program*: it says at which sites of a step masks stand, along which axes a
draw is shared, and what stands for them in an evaluation. `zoneout_core.masking.masks` turns
programs into tensors; cells apply them in the order of spec section 9.16. Two kinds of regularizer
need no mask: weight noise, and a penalty on the loss.

What they say may differ from lane to lane, unless it changes the arithmetic (the form of an output
gate). Fields named `z_*` are probabilities of PRESERVING the old value, `p_*` of DROPPING. The
default of every field is "off". Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from zoneout_core.config import registry
from zoneout_core.config.section import LANE, Section, require, require_probability

if TYPE_CHECKING:
    from torch import Tensor

    from zoneout_core.config.trial import TrialConfig

__all__ = [
    "LANE",
    "Axis",
    "Mask",
    "Regularizer",
    "RegularizerConfig",
    "Site",
    "require",
    "require_probability",
]

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
    field: str
    """The setting that asks for it, for messages."""
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
    """Units have rates of their own, spread evenly over probability +- spread (clipped
    to 0..1)."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Regularizer:
    """Base of all parts: a frozen dataclass whose fields all have a default that means "off"."""

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]]
    """Configuration values by key, with which it is on and strong: what the conformance tests
    try."""

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        raise NotImplementedError

    def check(self, config: TrialConfig) -> None:
        """Raises `ConfigError` when it cannot work with the rest of the configuration; called when
        it is active."""
        for mask in self.program():
            if mask.site not in ("embedding", "outputs"):
                self.require_site(config, mask.site, mask.field, "0")

    def require_site(self, config: TrialConfig, site: Site, name: str, must: str) -> None:
        """Raise `ConfigError` saying what setting `name` must be, unless the cell has this site."""
        cell = config.model.cell
        must = f"{must} with model.cell={cell}, which has no place for a mask at {site}"
        require(
            site in config.cell.chosen(cell).SITES, f"regularizer.{name}", getattr(self, name), must
        )

    def program(self) -> tuple[Mask, ...]:
        """Its masks; none when it is off."""
        return ()

    def transform(self, program: tuple[Mask, ...]) -> tuple[Mask, ...]:
        """What it makes of the masks of all regularizers: static and Gaussian masks change those of
        zoneout."""
        return program

    @property
    def weight_noise(self) -> float:
        """Standard deviation of the noise on weight matrices; 0 = none."""
        return 0.0

    @property
    def penalised(self) -> str:
        """The state (by its name in `Cell.sizes`) whose trajectory `penalty` wants; empty = there
        is none."""
        return ""

    def penalty(self, trajectory_TBH: Tensor) -> Tensor:
        """What it adds to the loss, [B] per example, from what the last layer carried from step to
        step."""
        raise NotImplementedError


class RegularizerConfig(Section):
    """All regularizers of a trial, flat: `config.regularizer.z_cells`."""

    __slots__ = ("_program",)
    package = "zoneout_core.regularizers"

    parts: tuple[Regularizer, ...]
    _program: tuple[Mask, ...]

    def active(self) -> list[Regularizer]:
        """The regularizers that do something, by file name."""
        return [part for part in self.parts if part.active]

    def program(self) -> tuple[Mask, ...]:
        """The masks of all of them together, each with its stream."""
        try:
            return self._program  # asked for at every update
        except AttributeError:
            masks = self._build()
            object.__setattr__(self, "_program", masks)
            return masks

    def _build(self) -> tuple[Mask, ...]:
        masks = tuple(mask for part in self.parts for mask in part.program())
        for part in self.parts:
            masks = part.transform(masks)
        return masks

    @property
    def weight_noise(self) -> float:
        """Standard deviation of the noise on weight matrices; 0 = none."""
        return max((part.weight_noise for part in self.active()), default=0.0)

    def penalties(self) -> list[Regularizer]:
        """Those that add to the loss."""
        return [part for part in self.active() if part.penalised]


def names() -> list[str]:
    """All regularizers, sorted."""
    return registry.names(__name__)


def dropout(
    site: Site, name: str, p: float, *, stream: str, inverted: bool = False, **further: Any
) -> Mask:
    """A mask that setting `name` asks for and that is 0 with probability p. Evaluations multiply
    with 1 - p unless it is inverted: divided by 1 - p in training."""
    let_through = 1 - p
    if inverted:
        return Mask(
            site=site,
            field=name,
            stream=stream,
            probability=let_through,
            expected=1.0,
            scale=1 / let_through,
            **further,
        )
    return Mask(
        site=site,
        field=name,
        stream=stream,
        probability=let_through,
        expected=let_through,
        **further,
    )


def require_dropped(name: str, p: float, *, inverted: bool) -> None:
    """Raise `ConfigError` unless p is a probability, and below 1 where training divides by 1 -
    p."""
    require_probability(name, p)
    require(not inverted or p < 1, name, p, "below 1, since training divides by 1 - p")


def changed(program: tuple[Mask, ...], streams: tuple[str, ...], **values: Any) -> tuple[Mask, ...]:
    """The program with fields of the masks of these streams replaced."""
    return tuple(replace(mask, **values) if mask.stream in streams else mask for mask in program)


def sampled(program: tuple[Mask, ...]) -> tuple[Mask, ...]:
    """The program whose masks are drawn in evaluations too, where expectations would stand for
    them."""
    return tuple(replace(mask, expected=None) for mask in program)


def monte_carlo(program: tuple[Mask, ...]) -> tuple[int, tuple[Mask, ...]]:
    """How many passes a Monte Carlo evaluation makes, and the program whose evaluation masks are
    drawn in each.

    0 passes: there is none, and expectations stand for the masks everywhere.
    """
    drawn = tuple(replace(mask, expected=None) if mask.passes else mask for mask in program)
    return max((mask.passes for mask in program), default=0), drawn
