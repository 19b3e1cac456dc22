"""Sequences in the forms that torch.nn takes, and the loop over their steps.

Inside, a sequence is flat: N rows, of which step t has `sizes[t]`. Of a batch that is B rows a
step; in a packed sequence, whose examples are ordered by length, the steps grow shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from zoneout_core.modules.keep import Keep

SequenceState = tuple[Tensor, ...]
"""h, and for an LSTM c."""
Keeps = tuple[Keep, ...]
"""What a step keeps of each state."""
Step = Callable[[Tensor, SequenceState, Keeps], SequenceState]
"""(gates' share of the inputs [B, G], states [B, H], keeps) -> states."""


class Form:
    """How an input came, [T, B, D], [B, T, D], [T, D] or packed, so that outputs can go the same
    way."""

    def __init__(self, given: Tensor | PackedSequence, batch_first: bool) -> None:
        self.packed: PackedSequence | None = None
        self.batch_sizes: Tensor | None = None
        self.batch_first = batch_first
        if isinstance(given, PackedSequence):
            self.packed, self.batched = given, True
            self.x, self.batch_sizes = (
                given.data,
                given.batch_sizes,
            )  # x: [N, D], and otherwise [T, B, D]
            self.batch = int(given.batch_sizes[0])
            return
        self.batched = given.dim() == 3
        if not self.batched:
            self.x = given.unsqueeze(1)
        else:
            self.x = given.transpose(0, 1) if batch_first else given
        self.batch = self.x.shape[1]

    def rows(self) -> tuple[Tensor, list[int]]:
        """(x [N, D], the number of rows of each step)."""
        if self.batch_sizes is not None:
            return self.x, self.batch_sizes.tolist()
        return self.x.flatten(0, 1), [self.batch] * self.x.shape[0]

    def enter(self, state: SequenceState) -> SequenceState:
        """Given initial states as [layers * directions, B, H], in the order of the rows."""
        if self.packed is not None and self.packed.sorted_indices is not None:
            return tuple(one.index_select(1, self.packed.sorted_indices) for one in state)
        if self.batched:
            return state
        return tuple(one.unsqueeze(1) for one in state)

    def leave(
        self, output: Tensor, state: SequenceState
    ) -> tuple[Tensor | PackedSequence, SequenceState]:
        """Output, [T, B, H] or [N, H], and last states, [layers * directions, B, H], in the form of
        the input."""
        if self.packed is not None:
            sizes, order, back = self.packed[1:]
            if back is not None:
                state = tuple(one.index_select(1, back) for one in state)
            return PackedSequence(output, sizes, order, back), state
        if output.dim() == 2:
            output = output.unflatten(0, self.x.shape[:2])
        if not self.batched:
            return output.squeeze(1), tuple(one.squeeze(1) for one in state)
        return output.transpose(0, 1) if self.batch_first else output, state


def run(
    step: Step,
    a_NG: Tensor,
    sizes: list[int],
    start: SequenceState,
    keeps: Sequence[Keeps],
    *,
    reverse: bool,
) -> tuple[Tensor, SequenceState]:
    """All steps from `start`, each [B, H]: (h [N, H], the states [B, H] after each example's last
    step).

    reverse: from the last step to the first. A shorter example then joins where it ends; otherwise
    it leaves there.
    """
    a, steps = a_NG.split(sizes), range(len(sizes))
    outputs: list[Tensor] = list(a)
    if reverse:
        first = sizes[-1]
    else:
        first = sizes[0]
    state = tuple(one[:first] for one in start)
    ended: list[SequenceState] = []
    for t in reversed(steps) if reverse else steps:
        size, now = sizes[t], state[0].shape[0]
        if size < now:
            ended.append(tuple(one[size:] for one in state))
            state = tuple(one[:size] for one in state)
        elif size > now:
            state = tuple(
                torch.cat([one, new[now:size]]) for one, new in zip(state, start, strict=True)
            )
        state = step(a[t], state, keeps[t])
        outputs[t] = state[0]
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return torch.cat(outputs), state
