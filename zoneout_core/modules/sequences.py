"""Sequences in the layouts that torch.nn takes, and the loop over their steps.

Internally a sequence is flat: N rows, of which step t has `sizes[t]`. A batch has B rows in every
step; a packed sequence, whose examples are ordered by length, has fewer in later steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from zoneout_core.modules.keep_masks import Keep

SequenceState = tuple[Tensor, ...]
"""h, and for an LSTM c."""
Keeps = tuple[Keep, ...]
"""The share of each state that a step keeps."""
Step = Callable[[Tensor, SequenceState, Keeps], SequenceState]
"""(share of the inputs in the gates [B, G], states [B, H], keeps) -> states."""


class InputLayout:
    """The layout of an input: [T, B, D], [B, T, D], [T, D] or packed. The output has the same."""

    def __init__(self, inputs: Tensor | PackedSequence, batch_first: bool) -> None:
        self.packed: PackedSequence | None = None
        self.batch_sizes: Tensor | None = None
        self.batch_first = batch_first
        if isinstance(inputs, PackedSequence):
            self.packed, self.batched = inputs, True
            self.x = inputs.data  # [N, D], and otherwise [T, B, D]
            self.batch_sizes = inputs.batch_sizes
            self.batch = int(inputs.batch_sizes[0])
            return
        self.batched = inputs.dim() == 3
        if not self.batched:
            self.x = inputs.unsqueeze(1)
        elif batch_first:
            self.x = inputs.transpose(0, 1)
        else:
            self.x = inputs
        self.batch = self.x.shape[1]

    def rows(self) -> tuple[Tensor, list[int]]:
        """(x [N, D], the number of rows of each step)."""
        if self.batch_sizes is not None:
            return self.x, self.batch_sizes.tolist()
        return self.x.flatten(0, 1), [self.batch] * self.x.shape[0]

    def enter(self, state: SequenceState) -> SequenceState:
        """The user's initial states as [layers * directions, B, H], in the order of the rows."""
        if self.packed is not None and self.packed.sorted_indices is not None:
            return tuple(h.index_select(1, self.packed.sorted_indices) for h in state)
        if self.batched:
            return state
        return tuple(h.unsqueeze(1) for h in state)

    def leave(
        self, output: Tensor, state: SequenceState
    ) -> tuple[Tensor | PackedSequence, SequenceState]:
        """The output, [T, B, H] or [N, H], and the last states, [layers * directions, B, H], in the
        layout of the input."""
        if self.packed is not None:
            sizes, order, inverse_order = self.packed[1:]
            if inverse_order is not None:
                state = tuple(h.index_select(1, inverse_order) for h in state)
            return PackedSequence(output, sizes, order, inverse_order), state
        if output.dim() == 2:
            output = output.unflatten(0, self.x.shape[:2])
        if not self.batched:
            return output.squeeze(1), tuple(h.squeeze(1) for h in state)
        if self.batch_first:
            output = output.transpose(0, 1)
        return output, state


def run(
    step: Step,
    a_NG: Tensor,
    sizes: list[int],
    start: SequenceState,
    keeps: Sequence[Keeps],
    *,
    reverse: bool,
) -> tuple[Tensor, SequenceState]:
    """All steps from `start`, each [B, H]: (h [N, H], the states [B, H] after the last step of each
    example).

    reverse: from the last step to the first. A shorter example then joins the batch at its end;
    otherwise it leaves the batch there.
    """
    a = a_NG.split(sizes)
    steps = list(range(len(sizes)))
    if reverse:
        steps.reverse()
    outputs: list[Tensor] = list(a)
    state = tuple(h[: sizes[steps[0]]] for h in start)
    ended: list[SequenceState] = []
    for t in steps:
        size, previous_size = sizes[t], state[0].shape[0]
        if size < previous_size:
            ended.append(tuple(h[size:] for h in state))
            state = tuple(h[:size] for h in state)
        elif size > previous_size:
            pairs = zip(state, start, strict=True)
            state = tuple(torch.cat([h, h_start[previous_size:size]]) for h, h_start in pairs)
        state = step(a[t], state, keeps[t])
        outputs[t] = state[0]
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return torch.cat(outputs), state
