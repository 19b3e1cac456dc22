"""How much of its old value a unit keeps at a step: drawn masks in training, their expectations in
an evaluation.

Masks are drawn with torch's global generator of the device, so that `torch.manual_seed` seeds them
like dropout, or with a generator of the user. Spec sections 8.2 (static), 9.1, 9.2 (depth), 9.13
(Gaussian).

Shapes: N rows, one for each example and step; H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, Final

import torch
from torch import Tensor, nn

from zoneout_core.errors import ConfigError, UnknownName

KINDS: Final[dict[str, str]] = {
    "bernoulli": "a draw for each unit of each example and step, separate for cells and states",
    "shared": "one draw for cells and states: with equal probabilities they have one mask",
    "gaussian": "real numbers with the mean and variance of the 0/1 mask",
    "depth": (
        "stochastic depth: one draw for all units of a layer, cells and states: the whole step is"
        " skipped"
    ),
    "static": (
        "drawn once for each step and unit, the same for all examples, updates and evaluations"
    ),
}
"""The values of `mask=`. In an evaluation all but `static` are replaced by their expectation z."""

Rate = float | Tensor
"""z, the probability of keeping: one number, or [H], or [layers * directions, H or 1]."""
Keep = Rate | None
"""The share of the old value that a step keeps: a 0/1 mask (bool), real numbers, or None = 0."""

LEVELS: Final = 2**24
"""Static masks compare stored integers below this with z * LEVELS; float32 represents all of them
exactly."""


def checked(name: str, z: Rate, hidden: int, rows: int) -> Rate:
    """`z` as a float, or as a float32 copy that nothing else refers to.

    Raises `ConfigError` when it is not a probability, requires a gradient, or is a tensor of a
    shape other than [hidden], [rows, hidden] and [rows, 1], where `rows` is layers times
    directions.
    """
    if isinstance(z, Tensor) and z.is_meta:
        raise ConfigError(
            f"{name} must have numbers, but is on the meta device. Give it as a tensor of the CPU."
        )
    if isinstance(z, nn.Parameter) or (isinstance(z, Tensor) and z.requires_grad):
        rule = (
            f"{name} must be no Parameter and want no gradient, since a mask that is drawn passes"
            " none on to it"
        )
        raise ConfigError(
            f"{rule}, but is a {type(z).__name__}. Give it as {name}.detach(), which makes it a"
            " constant."
        )
    if not isinstance(z, Tensor) or z.dim() == 0:
        number: object = z.item() if isinstance(z, Tensor) else z
        if (
            isinstance(number, bool)
            or not isinstance(number, Real)
            or not 0.0 <= float(number) <= 1.0
        ):
            must = "a number from 0 to 1, the probability of KEEPING a value, or a tensor of such"
            raise ConfigError(f"{name} must be {must}, but is {number!r}.")
        return float(number)
    if z.shape not in {(hidden,), (rows, hidden), (rows, 1)}:
        must = (
            f"[{hidden}] (one for each unit), or [{rows}, {hidden}] or [{rows}, 1] (layers times"
            " directions first)"
        )
        raise ConfigError(
            f"{name} must be one number or a tensor {must}, but has the shape {list(z.shape)}."
        )
    z = z.to(torch.float32, copy=True)
    if not bool(((z >= 0) & (z <= 1)).all()):
        raise ConfigError(
            f"{name} must hold probabilities from 0 to 1, but goes from {z.min():g} to {z.max():g}."
        )
    return z


def check_kind(kind: str, steps: int | None) -> None:
    """Raises `UnknownName` for a kind that is not in KINDS, and `ConfigError` for `steps` that do
    not fit the kind."""
    if kind not in KINDS:
        raise UnknownName("mask", kind, KINDS)
    if kind == "static" and steps is None:
        raise ConfigError(
            'steps must be given with mask="static", as the number of steps to draw masks for, but'
            " is None."
        )
    if kind != "static" and steps is not None:
        raise ConfigError(
            f'steps must be left out unless mask="static", but is {steps} with mask="{kind}".'
        )
    if steps is not None and steps < 1:
        raise ConfigError(
            f"steps must be at least 1, but is {steps}. Give the length of the longest sequence."
        )


def check_steps(length: int, steps: int | None) -> None:
    """Raises `ValueError` when a sequence has more steps than there are static masks."""
    if steps is not None and length > steps:
        raise ValueError(
            f"A sequence with static masks may have at most steps={steps} steps, but this one has"
            f" {length}. Cut it into chunks, or build the module with more steps."
        )


def is_off(z: Rate) -> bool:
    """Whether nothing is ever kept. A tensor of rates counts as on, because reading it would wait
    for the device."""
    return not isinstance(z, Tensor) and z == 0.0


def rate_repr(z: Rate) -> str:
    """A rate for `repr`: the number, or the count of rates and their range."""
    if isinstance(z, Tensor):
        return f"<{z.numel()} rates from {z.min():g} to {z.max():g}>"
    return f"{z:g}"


def of_layer(z: Rate, index: int) -> Rate:
    """The rate of layer and direction `index`: a number, [H] or [1]."""
    if isinstance(z, Tensor) and z.dim() == 2:
        return z[index]
    return z


def draw(
    kind: str, rates: Sequence[Rate], rows: int, state_BH: Tensor, generator: torch.Generator | None
) -> list[Tensor | None]:
    """A mask [N, H] (or [N, 1]) for each of the rates (states, cells), with N = `rows`; None where
    a rate is the number 0.

    state_BH: gives width, device and precision. `static` masks are not drawn here.
    """
    device = state_BH.device
    units = state_BH.shape[1]
    # Compiled with dynamic shapes, torch's random functions accept no `generator=`, not even None.
    source: dict[str, Any] = {}
    if generator is not None:
        source["generator"] = generator
    shared = kind in ("shared", "depth")
    columns = 1 if kind == "depth" else units
    masks: list[Tensor | None] = []
    uniform: Tensor | None = None
    for z in rates:
        if is_off(z):
            masks.append(None)
        elif kind == "gaussian":
            normal = torch.randn(rows, units, device=device, dtype=state_BH.dtype, **source)
            if isinstance(z, Tensor):
                z = z.to(state_BH)
            masks.append(z + (z * (1 - z)) ** 0.5 * normal)
        else:
            if uniform is None or not shared:
                uniform = torch.rand(rows, columns, device=device, dtype=torch.float32, **source)
            masks.append(uniform < (z.to(device) if isinstance(z, Tensor) else z))
    return masks


def static(z: Rate, words_TH: Tensor) -> list[Keep]:
    """The static mask [H] of each step, from the module's stored words."""
    if is_off(z):
        return [None] * len(words_TH)
    level = (z.to(words_TH.device) if isinstance(z, Tensor) else z) * LEVELS
    return list((words_TH < level).unbind())


def expectation(z: Rate, state_BH: Tensor) -> Keep:
    """The expectation of the mask, for an evaluation: z, on the device and in the precision of the
    states."""
    if is_off(z):
        return None
    if isinstance(z, Tensor):
        return z.to(state_BH)
    return z


def mix(keep: Keep, old: Tensor, new: Tensor) -> Tensor:
    """keep * old + (1 - keep) * new, exact where the mask is 0 or 1."""
    if keep is None:
        return new
    if isinstance(keep, Tensor) and keep.dtype == torch.bool:
        return torch.where(keep, old, new)
    return torch.lerp(new, old, keep)
