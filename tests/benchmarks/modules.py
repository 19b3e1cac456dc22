"""What zoneout costs in your own code: torch.nn's modules, ours, and the loop over torch.nn's cells
that one would write.

    python -m tests.benchmarks.modules [HIDDEN ...]

Milliseconds of a forward and backward pass on one thread of the CPU, the best of several; B = 32, T
= 100, D = H. They are processor time, which a busy machine disturbs less than time on the wall. The
loop is the usual one: a cell of torch.nn, `bernoulli_` and two products for each mask at each step.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoneout_core import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN

STEPS, BATCH = 100, 32
KINDS: list[tuple[Any, Any, Any, dict[str, float]]] = [
    (nn.LSTM, nn.LSTMCell, ZoneoutLSTM, {"z_cells": 0.5, "z_states": 0.05}),
    (nn.GRU, nn.GRUCell, ZoneoutGRU, {"z_states": 0.05}),
    (nn.RNN, nn.RNNCell, ZoneoutRNN, {"z_states": 0.05}),
]


def milliseconds(call: Callable[[], Tensor], repeats: int = 7) -> float:
    """The best of `repeats` forward and backward passes."""
    call().backward()
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        call().backward()
        best = min(best, time.process_time() - begin)
    return best * 1e3


def whole_sequence(module: Any, x_TBD: Tensor) -> Tensor:
    """A module of torch.nn or of ours."""
    output: Tensor = module(x_TBD)[0]
    return output.sum()


def loop_of_cells(cell: Any, x_TBD: Tensor, z: dict[str, float]) -> Tensor:
    """Zoneout as it is usually written around a cell of torch.nn."""
    rates = [z["z_states"], *([z["z_cells"]] if "z_cells" in z else [])]
    state = [x_TBD.new_zeros(x_TBD.shape[1], cell.hidden_size) for _ in rates]
    outputs = []
    for x_BD in x_TBD:
        new = cell(x_BD, tuple(state)) if len(state) > 1 else [cell(x_BD, state[0])]
        keeps = [
            torch.empty_like(one).bernoulli_(rate) for one, rate in zip(state, rates, strict=True)
        ]
        state = [
            keep * old + (1 - keep) * one for keep, old, one in zip(keeps, state, new, strict=True)
        ]
        outputs.append(state[0])
    return torch.stack(outputs).sum()


def main(sizes: list[int]) -> None:
    torch.set_num_threads(1)
    print(f"{'':10} {'H':>5} {'torch.nn':>10} {'ours, z=0':>10} {'ours':>10} {'cells':>10}")
    for hidden in sizes:
        x_TBD = torch.randn(STEPS, BATCH, hidden, requires_grad=True)
        for module, cell, zoneout, z in KINDS:
            runs = [module(hidden, hidden), zoneout(hidden, hidden), zoneout(hidden, hidden, **z)]
            times = [milliseconds(partial(whole_sequence, run, x_TBD)) for run in runs]
            times.append(milliseconds(partial(loop_of_cells, cell(hidden, hidden), x_TBD, z)))
            print(
                f"{module.__name__:10} {hidden:5} " + " ".join(f"{one:10.1f}" for one in times),
                flush=True,
            )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [128, 512])
