"""Precisions that the processor lacks. Libraries emulate them, which is slower than a precision
that it has."""

import torch

from zoneout_core.errors import ConfigError
from zoneout_core.kernels import machine, product, timing
from zoneout_core.kernels.timing import Shape

EXAMPLE = Shape(batch=32, hidden=128, gates=512, steps=100)
"""The products of an LSTM of 128 units, for which the error below states the slowdown."""


def check_precision(precision: str, device: torch.device | str, *, force: bool = False) -> None:
    """Raises `ConfigError`, which states the cost, for a precision that is emulated on `device`:
    float32 is faster there and more precise. force: raise nothing."""
    if force or not is_emulated(precision, device):
        return
    raise ConfigError(
        f"precision must be one that this processor has ({machine.processor()}), but it has no"
        f" instructions for {precision}: emulated, products take {slowdown(precision):.1f} times as"
        " long as in float32, which is more precise. Use --set precision=float32, or --force to"
        " train all the same."
    )


def is_emulated(precision: str, device: torch.device | str) -> bool:
    """Whether `device` is a processor without instructions for `precision`."""
    return (
        precision == "bfloat16"
        and torch.device(device).type == "cpu"
        and not machine.has_bfloat16()
    )


def slowdown(precision: str) -> float:
    """The time of products in `precision` relative to float32, each by its fastest
    implementation."""
    matmuls = []
    for candidate in (precision, "float32"):
        matmuls += [product.named(name, candidate) for name in product.possible(candidate)]
    seconds = timing.seconds(matmuls, EXAMPLE)
    emulated_count = len(product.possible(precision))
    return min(seconds[:emulated_count]) / min(seconds[emulated_count:])
