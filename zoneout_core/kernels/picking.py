"""Which product a lane's recurrence takes: the fastest on this machine, found out once and then
kept.

The answer is a function of the lane's own configuration (precision and shape) and of the machine,
never of its neighbours or of how many they are.
"""

import torch

from zoneout_core.kernels import machine, product, switches, timing
from zoneout_core.kernels.emulation import is_emulated
from zoneout_core.kernels.memory import Answer, Memory, cache_folder
from zoneout_core.kernels.product import MatMul
from zoneout_core.kernels.timing import Shape

CLEARLY = 1.10
"""How many times as fast as the default a product has to be to take its place: noise is not to
decide."""

_memory = Memory(cache=cache_folder())
_picked: dict[tuple[str, Shape, int], MatMul] = {}
"""What was found before, since every lane asks at every update; the last number is that of
threads."""


def remember(memory: Memory) -> None:
    """Let this process take its answers from `memory`, as a lane server does for its run."""
    global _memory
    _memory = memory
    _picked.clear()


def pick(precision: str, device: torch.device, shape: Shape | None = None) -> MatMul:
    """The product for `precision` on `device`. Without a shape nothing is timed: it is the default,
    or the one that is asked for.

    Raises `ConfigError` or `UnknownName` when ZONEOUT_PRODUCT asks for one that cannot be.
    """
    if device.type != "cpu" or precision == "float64":
        return product.named("mm", precision).because(f"{precision} on {device.type}")
    asked = switches.product()
    if asked:
        found = product.named(asked, precision).because(
            _said(precision, ", because ZONEOUT_PRODUCT asked for it")
        )
        if shape is not None:
            _memory.keep_for_run(_question(precision, shape), Answer(asked, found.reason))
        return found
    if shape is None:
        return _default(precision)
    key = (precision, shape, torch.get_num_threads())
    if key not in _picked:
        _picked[key] = _recalled(precision, shape)
    return _picked[key]


def _default(precision: str) -> MatMul:
    name = product.default(precision)
    if name == "onednn":
        why = " through oneDNN, as nn.LSTM"
    else:
        why = ", because there is no oneDNN product here"
    return product.named(name, precision).because(_said(precision, why))


def _recalled(precision: str, shape: Shape) -> MatMul:
    """From memory, or timed now."""
    names = product.possible(precision)
    if len(names) == 1:
        return _default(precision)
    question = _question(precision, shape)
    answer = _memory.recall(question)
    if answer is None:
        answer = _memory.keep(question, _timed(precision, shape))
    return product.named(answer.product, precision).because(answer.reason)


def _timed(precision: str, shape: Shape) -> Answer:
    """The first product that can be had, unless another one is clearly faster."""
    names = product.possible(precision)
    seconds = dict(
        zip(
            names,
            timing.seconds([product.named(name, precision) for name in names], shape),
            strict=True,
        )
    )
    chosen = names[0]
    for name in names[1:]:
        if seconds[name] * CLEARLY < seconds[chosen]:
            chosen = name
    others = (
        f"{name} takes {seconds[name] / seconds[chosen]:.2f} times as long"
        for name in names
        if name != chosen
    )
    if _memory.lasts:
        lost = ""
    else:
        lost = " (not remembered for other runs: the cache folder cannot be written)"
    return Answer(chosen, _said(precision, f", timed on this machine: {', '.join(others)}{lost}"))


def _said(precision: str, why: str) -> str:
    if is_emulated(precision, "cpu"):
        slow = "; emulated, which is slower than float32"
    else:
        slow = ""
    return f"{precision}{why}{slow}"


def _question(precision: str, shape: Shape) -> str:
    sizes = " ".join(f"{name}={size}" for name, size in shape._asdict().items())
    machinery = f"torch {torch.__version__}; {machine.instructions()}; {machine.processor()}"
    threads = torch.get_num_threads()
    return (
        f"{precision} by {', '.join(product.possible(precision))}; {sizes}; threads={threads};"
        f" {machinery}"
    )
