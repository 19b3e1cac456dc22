"""What the three drop-in modules share: arguments, rates, masks, layers and directions, and weights
both ways.

Shapes: T steps, B batch, N rows (one for each example and step), D inputs, H hidden, G gates side
by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from zoneout_core.compat import MovedModule
from zoneout_core.modules import keep
from zoneout_core.modules.checks import check_inputs, check_states
from zoneout_core.modules.keep import Keep, Rate
from zoneout_core.modules.sequences import Form, Keeps, SequenceState, Step, run
from zoneout_core.modules.weights import (
    Weights,
    arguments,
    autocast_dtype,
    copy_weights,
    state_dtype,
)


class ZoneoutBase(MovedModule, nn.RNNBase):
    """Base of `ZoneoutLSTM`, `ZoneoutGRU` and `ZoneoutRNN`, where the arguments are described."""

    TORCH: ClassVar[type[nn.RNNBase]]
    """The class of torch.nn in whose place it stands."""
    RATES: ClassVar[tuple[str, ...]] = ("z_states",)
    """The rate of each state, in their order."""

    def __init__(
        self,
        *shape: Any,
        rates: Mapping[str, Rate],
        mask: str,
        steps: int | None,
        generator: torch.Generator | None,
        **factory: Any,
    ) -> None:
        keep.check_kind(mask, steps)
        super().__init__(*shape, **factory)
        self._mask, self.steps, self.generator = mask, steps, generator
        self._rates: dict[str, Rate] = {}
        for name in self.RATES:
            self._set_rate(name, rates[name])
        if steps is not None:
            for name in self._static_names():
                shape = (steps, self.hidden_size)
                self.register_buffer(
                    name, torch.empty(shape, dtype=torch.int32, device=factory["device"])
                )
            self._draw_static()

    @property
    def z_states(self) -> Rate:
        """The probability that a hidden state keeps its previous value at a step."""
        return self._rates["z_states"]

    @z_states.setter
    def z_states(self, z: Rate) -> None:
        self._set_rate("z_states", z)

    @property
    def mask(self) -> str:
        """The kind of mask, one of `keep.KINDS`."""
        return self._mask

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module would make a parameter of a Parameter, and an attribute without effect of a
        # misspelt rate.
        if name in self.RATES:
            object.__setattr__(self, name, value)
        elif name.startswith("z_"):
            raise AttributeError(
                f"{type(self).__name__} has no {name}. What it has:"
                f" {', '.join(sorted(self.RATES))}."
            )
        else:
            super().__setattr__(name, value)

    def is_plain(self) -> bool:
        """Whether nothing is ever kept, so that torch's own kernels run. Rates in a tensor count as
        keeping."""
        return all(keep.off(z) for z in self._rates.values())

    def reset_parameters(self) -> None:
        """Draw start values as torch.nn does, and static masks anew."""
        super().reset_parameters()
        self._draw_static()

    @classmethod
    def from_torch(cls, module: nn.RNNBase, **zoneout: Any) -> Self:
        """A module with a torch.nn module's arguments and copies of its weights; `zoneout` are the
        further arguments.

        Raises `TypeError` for a module of another kind.
        """
        if not isinstance(module, cls.TORCH):
            rule = f"{cls.__name__}.from_torch takes a torch.nn.{cls.TORCH.__name__}"
            raise TypeError(f"{rule}, but was given a {type(module).__name__}.")
        made = cls(**arguments(module), **zoneout)
        copy_weights(module, made)
        return made

    def to_torch(self) -> nn.RNNBase:
        """The same network without zoneout: torch.nn's module with copies of the weights."""
        made = self.TORCH(**arguments(self))
        copy_weights(self, made)
        return made

    def extra_repr(self) -> str:
        shown = [super().extra_repr()]
        shown += [f"{name}={keep.shown(z)}" for name, z in sorted(self._rates.items())]
        shown += [] if self._mask == "bernoulli" else [f"mask={self._mask!r}"]
        return ", ".join(shown + ([] if self.steps is None else [f"steps={self.steps}"]))

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """(output, h_n), or (output, (h_n, c_n)) of an LSTM: arguments, shapes and defaults are
        those of torch.nn.

        Raises `ValueError` when shapes or precisions do not fit, or a sequence is longer than the
        static masks.
        """
        check_inputs(self, input)
        form = Form(input, self.batch_first)
        state = self._start(form, hx)
        if self._fuses():
            output, *last = self._fused(form.x, form.batch_sizes, state)
        else:
            output, last = self._layers(*form.rows(), state)
        dtype = self._returned(form.x if hx is None else state[0]) or output.dtype
        given_back, states = form.leave(output.to(dtype), tuple(one.to(dtype) for one in last))
        return given_back, states[0] if len(self.RATES) == 1 else states

    def _start(self, form: Form, hx: Any) -> SequenceState:
        """The initial states, each [layers * directions, B, H]: those given, or zeros."""
        weight: Any = self.weight_hh_l0
        dtype = state_dtype(weight)
        if hx is None:
            shape = (len(self.all_weights), form.batch, self.hidden_size)
            return tuple(torch.zeros(shape, dtype=dtype, device=form.x.device) for _ in self.RATES)
        if isinstance(hx, tuple | list):
            given = tuple(hx)
        else:
            given = (hx,)
        check_states(self, given, len(self.RATES), form.batch if form.batched else None)
        return form.enter(tuple(one.to(dtype) for one in given))

    def _fuses(self) -> bool:
        """Whether torch's own kernel runs."""
        return self.is_plain()

    def _returned(self, first: Tensor) -> torch.dtype | None:
        """The precision of output and last states under autocast, torch.nn's whatever z is; None
        without autocast.

        first: the given initial state or, without one, the input.
        """
        weight: Any = self.weight_hh_l0
        return autocast_dtype(weight)

    def _layers(
        self, x_ND: Tensor, sizes: list[int], state: SequenceState
    ) -> tuple[Tensor, list[Tensor]]:
        """(the last layer's output [N, H * directions], the last states as `_start` has them)."""
        last: list[SequenceState] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x_ND = functional.dropout(x_ND, self.dropout, self.training)
            outputs = []
            for direction in range(2 if self.bidirectional else 1):
                index = len(last)
                start = tuple(one[index] for one in state)
                keeps = self._keeps(index, sizes, start[0])
                a_NG, step = self._layer(x_ND, self._weights(index))
                output_NH, end = run(step, a_NG, sizes, start, keeps, reverse=direction == 1)
                outputs.append(output_NH)
                last.append(end)
            if len(outputs) > 1:
                x_ND = torch.cat(outputs, dim=1)
            else:
                x_ND = outputs[0]
        return x_ND, [torch.stack(one) for one in zip(*last, strict=True)]

    def _keeps(self, index: int, sizes: list[int], state_BH: Tensor) -> list[Keeps]:
        """What every step keeps in layer and direction `index`."""
        rates = [keep.of_layer(self._rates[name], index) for name in self.RATES]
        sites: list[list[Keep]] = []
        if self._mask == "static":
            keep.check_steps(len(sizes), self.steps)
            names = self._static_names()[index * len(rates) :]
            words = [self.get_buffer(name)[: len(sizes)] for name in names[: len(rates)]]
            sites = [keep.static(z, words_TH) for z, words_TH in zip(rates, words, strict=True)]
        elif self.training:
            masks = keep.drawn(self._mask, rates, sum(sizes), state_BH, self.generator)
            sites = [
                [None] * len(sizes) if mask is None else list(mask.split(sizes)) for mask in masks
            ]
        else:
            sites = [[keep.expected(z, state_BH)] * len(sizes) for z in rates]
        return list(zip(*sites, strict=True))

    def _weights(self, index: int) -> Weights:
        """Parameters of layer and direction `index`; under autocast they are converted here, once a
        sequence."""
        weights: list[Tensor] = list(self.all_weights[index])
        dtype = autocast_dtype(weights[0])
        if dtype is None:
            return Weights(*weights)
        return Weights(*(one.to(dtype) for one in weights))

    def _layer(self, x_ND: Tensor, weights: Weights) -> tuple[Tensor, Step]:
        """The inputs' share of the gates, [N, G], and the function that makes a step."""
        raise NotImplementedError

    def _fused(self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState) -> SequenceState:
        """(output, the last states) from torch's own kernel, which knows no zoneout."""
        raise NotImplementedError

    def _fused_arguments(
        self, x: Tensor, batch_sizes: Tensor | None, state: SequenceState
    ) -> tuple[Any, ...]:
        """What torch's kernels are called with, but for h and c as one: x, [sizes,] states,
        weights, settings."""
        weights = [one for layer in self.all_weights for one in layer]
        hx: Tensor | SequenceState = state
        if len(state) == 1:
            hx = state[0]
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if batch_sizes is None:
            return (x, hx, weights, *settings, False)
        return (x, batch_sizes, hx, weights, *settings)

    def _set_rate(self, name: str, z: Rate) -> None:
        self._rates[name] = keep.checked(name, z, self.hidden_size, len(self.all_weights))
        self._place_rates()

    def _place_rates(self) -> None:
        """Rates of units lie beside the weights (and nowhere else, so that no step waits for a
        transfer)."""
        weight: Any = self.weight_hh_l0
        for name, z in self._rates.items():
            if isinstance(z, Tensor) and not weight.is_meta:
                self._rates[name] = z.to(weight.device)

    def after_move(self) -> None:
        """Rates of units follow the weights to their device."""
        self._place_rates()

    def _static_names(self) -> list[str]:
        """Buffers of the static masks: for each layer and direction those of h, then those of c."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        ends = [f"_l{layer}{way}" for layer in range(self.num_layers) for way in directions]
        return [f"static_{rate.removeprefix('z_')}{end}" for end in ends for rate in self.RATES]

    def _draw_static(self) -> None:
        for words in self.buffers():
            words.random_(keep.LEVELS, generator=self.generator)
