"""Precisions that a processor does not have itself: libraries emulate them, more slowly than what
it has."""

import torch

from zoneout_core.errors import ConfigError
from zoneout_core.kernels import machine, product, timing
from zoneout_core.kernels.timing import Shape

EXAMPLE = Shape(batch=32, hidden=128, gates=512, steps=100)
"""The products that stand for all, where a figure is wanted: those of an LSTM of 128 units."""


def check_precision(precision: str, device: torch.device | str, *, force: bool = False) -> None:
    """Raises `ConfigError`, with what it would cost, for a precision that is slower on `device`
    than float32, which is more precise. force: never."""
    if force or not is_emulated(precision, device):
        return
    raise ConfigError(
        f"precision must be one that this processor has ({machine.processor()}), but it has no"
        f" instructions for {precision}: emulated, products take {slowdown(precision):.1f} times as"
        " long as in float32, which is more precise. Use --set precision=float32, or --force to"
        " train all the same."
    )


def is_emulated(precision: str, device: torch.device | str) -> bool:
    """Whether `device` is a processor that calculates in `precision` by other instructions."""
    return (
        precision == "bfloat16"
        and torch.device(device).type == "cpu"
        and not machine.has_bfloat16()
    )


def slowdown(precision: str) -> float:
    """How many times as long as in float32 products take here, each by its fastest
    implementation."""
    names = [(one, name) for one in (precision, "float32") for name in product.possible(one)]
    found = timing.seconds([product.named(name, one) for one, name in names], EXAMPLE)
    fastest = {
        one: min(t for (its, _), t in zip(names, found, strict=True) if its == one)
        for one, _ in names
    }
    return fastest[precision] / fastest["float32"]
