"""The choice of a lane's matrix product: the fastest on this machine, timed once and remembered.

The choice depends on the lane's own configuration (precision and shape) and on the machine, never
on its neighbours or their number.
"""

import torch

from zoneout_core.kernels import machine, product, switches, timing
from zoneout_core.kernels.emulation import is_emulated
from zoneout_core.kernels.memory import Answer, Memory, cache_folder
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.timing import Shape

CLEAR_SPEEDUP = 1.10
"""A product replaces the default only if it is at least this many times as fast, so that noise does
not decide."""

_memory = Memory(cache=cache_folder())
_picked: dict[tuple[str, Shape, int], MatMul] = {}
"""Earlier choices, by precision, shape and number of threads, since every lane asks at every
update."""


def remember(memory: Memory) -> None:
    """Let this process take its answers from `memory`, as a lane server does for its run."""
    global _memory
    _memory = memory
    _picked.clear()


def pick(precision: str, device: torch.device, shape: Shape | None = None) -> MatMul:
    """The product for `precision` on `device`. Without a shape nothing is timed: it is the default
    product, or that of ZONEOUT_PRODUCT.

    Raises `ConfigError` or `UnknownName` when ZONEOUT_PRODUCT names one that cannot run here.
    """
    if device.type != "cpu" or precision == "float64":
        return product.named("mm", precision).because(f"{precision} on {device.type}")
    requested = switches.product()
    if requested:
        reason = _reason(precision, ", because ZONEOUT_PRODUCT asked for it")
        if shape is not None:
            _memory.keep_for_run(_question(precision, shape), Answer(requested, reason))
        return product.named(requested, precision).because(reason)
    if shape is None:
        return _default(precision)
    key = (precision, shape, torch.get_num_threads())
    if key not in _picked:
        _picked[key] = _recalled(precision, shape)
    return _picked[key]


def _default(precision: str) -> MatMul:
    name = product.default(precision)
    if name == "onednn":
        note = " through oneDNN, as nn.LSTM"
    else:
        note = ", because there is no oneDNN product here"
    return product.named(name, precision).because(_reason(precision, note))


def _recalled(precision: str, shape: Shape) -> MatMul:
    """The product from memory, or timed now."""
    names = product.possible(precision)
    if len(names) == 1:
        return _default(precision)
    question = _question(precision, shape)
    answer = _memory.recall(question)
    if answer is None:
        answer = _memory.keep(question, _timed(precision, shape))
    return product.named(answer.product, precision).because(answer.reason)


def _timed(precision: str, shape: Shape) -> Answer:
    """The first possible product, unless another one is clearly faster."""
    names = product.possible(precision)
    matmuls = [product.named(name, precision) for name in names]
    seconds = dict(zip(names, timing.seconds(matmuls, shape), strict=True))
    chosen = names[0]
    for name in names[1:]:
        if seconds[name] * CLEAR_SPEEDUP < seconds[chosen]:
            chosen = name
    others = (
        f"{name} takes {seconds[name] / seconds[chosen]:.2f} times as long"
        for name in names
        if name != chosen
    )
    note = f", timed on this machine: {', '.join(others)}"
    if not _memory.lasts:
        note += " (not remembered for other runs: the cache folder cannot be written)"
    return Answer(chosen, _reason(precision, note))


def _reason(precision: str, note: str) -> str:
    if is_emulated(precision, "cpu"):
        return f"{precision}{note}; emulated, which is slower than float32"
    return f"{precision}{note}"


def _question(precision: str, shape: Shape) -> str:
    sizes = " ".join(f"{name}={size}" for name, size in shape._asdict().items())
    machinery = f"torch {torch.__version__}; {machine.instructions()}; {machine.processor()}"
    threads = torch.get_num_threads()
    return (
        f"{precision} by {', '.join(product.possible(precision))}; {sizes}; threads={threads};"
        f" {machinery}"
    )
