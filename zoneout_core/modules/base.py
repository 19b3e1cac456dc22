"""The base of the three drop-in modules: layers and directions, torch's own kernels, and conversion
from and to torch.nn.

Shapes: T steps, B batch, N rows (one for each example and step), D inputs, H hidden, G gates side
by side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from zoneout_core.modules import keep_masks
from zoneout_core.modules.checks import check_inputs, check_states
from zoneout_core.modules.keeping_rnn import KeepingRNN
from zoneout_core.modules.sequences import InputLayout, SequenceState, Step, run
from zoneout_core.modules.weights import (
    Weights,
    arguments,
    autocast_dtype,
    copy_weights,
    state_dtype,
)


class ZoneoutBase(KeepingRNN, ABC):
    """Base of `ZoneoutLSTM`, `ZoneoutGRU` and `ZoneoutRNN`, which describe the arguments."""

    TORCH: ClassVar[type[nn.RNNBase]]
    """The class of torch.nn that it replaces."""

    @classmethod
    def from_torch(cls, module: nn.RNNBase, **zoneout: Any) -> Self:
        """A module with the arguments of a torch.nn module and copies of its weights; `zoneout` has
        the further arguments.

        Raises `TypeError` for a module of another kind.
        """
        if not isinstance(module, cls.TORCH):
            rule = f"{cls.__name__}.from_torch takes a torch.nn.{cls.TORCH.__name__}"
            raise TypeError(f"{rule}, but was given a {type(module).__name__}.")
        copy = cls(**arguments(module), **zoneout)
        copy_weights(module, copy)
        return copy

    def to_torch(self) -> nn.RNNBase:
        """The same network without zoneout: a torch.nn module with copies of the weights."""
        copy = self.TORCH(**arguments(self))
        copy_weights(self, copy)
        return copy

    def extra_repr(self) -> str:
        words = [super().extra_repr()]
        words += [f"{name}={keep_masks.rate_repr(z)}" for name, z in sorted(self._rates.items())]
        if self._mask != "bernoulli":
            words.append(f"mask={self._mask!r}")
        if self.steps is not None:
            words.append(f"steps={self.steps}")
        return ", ".join(words)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """(output, h_n), or (output, (h_n, c_n)) for an LSTM: arguments, shapes and defaults are
        those of torch.nn.

        Raises `ValueError` when shapes or precisions do not fit, or a sequence is longer than the
        static masks.
        """
        check_inputs(self, input)
        layout = InputLayout(input, self.batch_first)
        state = self._start(layout, hx)
        if self._fuses():
            output, *last = self._fused(layout.x, layout.batch_sizes, state)
        else:
            output, last = self._layers(*layout.rows(), state)
        dtype = self._returned(layout.x if hx is None else state[0]) or output.dtype
        result, states = layout.leave(output.to(dtype), tuple(state.to(dtype) for state in last))
        if len(states) == 1:
            return result, states[0]
        return result, states

    def _start(self, layout: InputLayout, hx: Any) -> SequenceState:
        """The initial states, each [layers * directions, B, H]: the user's, or zeros."""
        weight: Any = self.weight_hh_l0
        dtype = state_dtype(weight)
        if hx is None:
            shape = (len(self.all_weights), layout.batch, self.hidden_size)
            device = layout.x.device
            return tuple(torch.zeros(shape, dtype=dtype, device=device) for _ in self.RATES)
        states = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        check_states(self, states, len(self.RATES), layout.batch if layout.batched else None)
        return layout.enter(tuple(state.to(dtype) for state in states))

    def _fuses(self) -> bool:
        """Whether torch's own kernel runs."""
        return self.is_plain()

    def _returned(self, first: Tensor) -> torch.dtype | None:
        """The precision of output and last states under autocast, for every z that of torch.nn;
        None without autocast.

        first: the user's initial state or, if there is none, the input.
        """
        weight: Any = self.weight_hh_l0
        return autocast_dtype(weight)

    def _layers(
        self, x_ND: Tensor, sizes: list[int], state: SequenceState
    ) -> tuple[Tensor, list[Tensor]]:
        """(the last layer's output [N, H * directions], the last states shaped like those of
        `_start`)."""
        last: list[SequenceState] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x_ND = functional.dropout(x_ND, self.dropout, self.training)
            outputs = []
            for direction in range(2 if self.bidirectional else 1):
                index = len(last)
                start = tuple(layers[index] for layers in state)
                keeps = self._keeps(index, sizes, start[0])
                a_NG, step = self._layer(x_ND, self._weights(index))
                output_NH, end = run(step, a_NG, sizes, start, keeps, reverse=direction == 1)
                outputs.append(output_NH)
                last.append(end)
            x_ND = outputs[0]
            if len(outputs) > 1:
                x_ND = torch.cat(outputs, dim=1)
        return x_ND, [torch.stack(layers) for layers in zip(*last, strict=True)]

    def _weights(self, index: int) -> Weights:
        """Parameters of layer and direction `index`. Autocast's conversion happens here, once per
        sequence."""
        weights: list[Tensor] = list(self.all_weights[index])
        dtype = autocast_dtype(weights[0])
        if dtype is None:
            return Weights(*weights)
        return Weights(*(weight.to(dtype) for weight in weights))

    @abstractmethod
    def _layer(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        """The share of the inputs in the gates, [N, G], and the function that computes a step."""

    @abstractmethod
    def _fused(self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState) -> SequenceState:
        """(output, the last states) from torch's own kernel, which has no zoneout."""

    def _fused_arguments(
        self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState
    ) -> tuple[Any, ...]:
        """The arguments of torch's kernels: x, [sizes,] states, weights, settings."""
        weights = [weight for layer in self.all_weights for weight in layer]
        hx: Tensor | SequenceState = state
        if len(state) == 1:
            hx = state[0]
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if batch_sizes is None:
            return (x, hx, weights, *settings, False)
        return (x, batch_sizes, hx, weights, *settings)
