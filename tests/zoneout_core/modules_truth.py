"""The drop-in modules by the ground truth: layer after layer and direction after direction through
zoneout_core.cells."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoneout_core.cells import Cell, State
from zoneout_core.cells.gru import GRU
from zoneout_core.cells.lstm import LSTM
from zoneout_core.cells.rnn import RNN
from zoneout_core.masking.sites import Sites
from zoneout_core.modules import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN
from zoneout_core.modules.base import ZoneoutBase

Masks = Sequence[Tensor | None]
"""What a layer and direction keeps of each state, broadcasting to [T, B, H]."""
ALL: tuple[type[ZoneoutBase], ...] = (ZoneoutLSTM, ZoneoutGRU, ZoneoutRNN)


def rates(kind: type[ZoneoutBase], *values: Any) -> dict[str, Any]:
    """z_states, and z_cells of an LSTM."""
    return dict(zip(kind.RATES, values, strict=False))


def flat(result: tuple[Any, Any]) -> list[Tensor]:
    """Output (the rows of a packed one) and last states in one list."""
    output, states = result
    return [
        output if isinstance(output, Tensor) else output.data,
        *(states if isinstance(states, tuple) else [states]),
    ]


def differences(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest difference between two lists of tensors of the same shapes."""
    assert [a.shape for a in one] == [b.shape for b in other]
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


def gradients(module: torch.nn.Module, result: tuple[Any, Any], *inputs: Tensor) -> list[Tensor]:
    """Gradients of a sum with uneven weights, for the inputs and every parameter."""
    loss = sum(
        (one * torch.linspace(-1, 2, one.numel(), dtype=one.dtype).view_as(one)).sum()
        for one in flat(result)
    )
    assert isinstance(loss, Tensor)
    return list(torch.autograd.grad(loss, [*inputs, *module.parameters()], retain_graph=True))


def truth(
    module: ZoneoutBase, x_TBD: Tensor, state: State, masks: Sequence[Masks]
) -> tuple[Tensor, list[Tensor]]:
    """(output [T, B, H * directions], the last states, each [layers * directions, B, H])."""
    last: list[State] = []
    directions = 2 if module.bidirectional else 1
    for _ in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            index = len(last)
            start = tuple(one[index] for one in state)
            output, end = _layer(module, index, x_TBD, start, masks[index], reverse=direction == 1)
            outputs.append(output)
            last.append(end)
        x_TBD = torch.cat(outputs, dim=-1)
    return x_TBD, [torch.stack(one) for one in zip(*last, strict=True)]


def _layer(
    module: ZoneoutBase, index: int, x_TBD: Tensor, start: State, masks: Masks, *, reverse: bool
) -> tuple[Tensor, State]:
    cell, p = _cell(module, module.all_weights[index])
    shape = (*x_TBD.shape[:2], module.hidden_size)
    given = dict(zip(("keep_states", "keep_cells"), masks, strict=False))
    keeps = {
        site: mask.to(x_TBD.dtype).expand(shape) for site, mask in given.items() if mask is not None
    }
    if reverse:
        x_TBD, keeps = x_TBD.flip(0), {site: mask.flip(0) for site, mask in keeps.items()}
    found = cell.run(p, x_TBD, start, Sites(**keeps), training=True)
    output = found.states[0]
    return output.flip(0) if reverse else output, found.last


def _cell(module: ZoneoutBase, weights: list[Any]) -> tuple[Cell, dict[str, Tensor]]:
    """The cell and its parameters, from torch's: transposed, one bias, gates in the cells'
    order."""
    w_GD, u_GH = weights[:2]
    hidden = module.hidden_size
    b_G, b_recurrent_G = weights[2:] if module.bias else torch.zeros(2, len(w_GD), dtype=w_GD.dtype)
    order = [0, 1, 3, 2] if isinstance(module, ZoneoutLSTM) else list(range(len(w_GD) // hidden))

    def ours(one: Tensor) -> Tensor:
        return torch.cat([one.split(hidden)[gate] for gate in order])

    p = {"w_DG": ours(w_GD).T, "u_HG": ours(u_GH).T, "b_G": ours(b_G + b_recurrent_G)}
    if isinstance(module, ZoneoutLSTM):
        return LSTM(), p
    if isinstance(module, ZoneoutRNN):
        return RNN(activation="tanh" if module.nonlinearity == "tanh" else "relu"), p
    assert isinstance(module, ZoneoutGRU)
    if module.reset == "before":
        return GRU(), p
    split = torch.cat([(b_G + b_recurrent_G)[: 2 * hidden], b_G[2 * hidden :]])
    return GRU(reset="after"), p | {"b_G": split, "v_H": b_recurrent_G[2 * hidden :]}
