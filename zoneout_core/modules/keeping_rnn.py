"""The rates and masks of a drop-in module: the share of each state that a step keeps.

Shapes: B batch, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoneout_core.compat import MovedModule
from zoneout_core.modules import keep_masks
from zoneout_core.modules.keep_masks import Keep, Rate
from zoneout_core.modules.sequences import Keeps


class KeepingRNN(MovedModule, nn.RNNBase):
    """torch's base of recurrent modules, with a rate for each state and a kind of mask."""

    RATES: ClassVar[tuple[str, ...]] = ("z_states",)
    """The names of the rates, in the order of the states."""

    def __init__(
        self,
        *shape: Any,
        rates: Mapping[str, Rate],
        mask: str,
        steps: int | None,
        generator: torch.Generator | None,
        **factory: Any,
    ) -> None:
        keep_masks.check_kind(mask, steps)
        super().__init__(*shape, **factory)
        self._mask = mask
        self.steps = steps
        self.generator = generator
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
        """The kind of mask, one of `keep_masks.KINDS`."""
        return self._mask

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module would register a Parameter as its own, and store a misspelt rate without effect.
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
        """Whether nothing is ever kept, so that torch's own kernels can run. A tensor of rates
        counts as keeping."""
        return all(keep_masks.is_off(z) for z in self._rates.values())

    def reset_parameters(self) -> None:
        """Draw start values as torch.nn does, and new static masks."""
        super().reset_parameters()
        self._draw_static()

    def _keeps(self, index: int, sizes: list[int], state_BH: Tensor) -> list[Keeps]:
        """The share of each state that every step keeps in layer and direction `index`."""
        rates = [keep_masks.of_layer(self._rates[name], index) for name in self.RATES]
        sites: list[list[Keep]] = []
        if self._mask == "static":
            keep_masks.check_steps(len(sizes), self.steps)
            names = self._static_names()[index * len(rates) :]
            words = [self.get_buffer(name)[: len(sizes)] for name in names[: len(rates)]]
            sites = [
                keep_masks.static(z, words_TH) for z, words_TH in zip(rates, words, strict=True)
            ]
        elif self.training:
            masks = keep_masks.draw(self._mask, rates, sum(sizes), state_BH, self.generator)
            sites = [
                [None] * len(sizes) if mask is None else list(mask.split(sizes)) for mask in masks
            ]
        else:
            sites = [[keep_masks.expectation(z, state_BH)] * len(sizes) for z in rates]
        return list(zip(*sites, strict=True))

    def _set_rate(self, name: str, z: Rate) -> None:
        self._rates[name] = keep_masks.checked(name, z, self.hidden_size, len(self.all_weights))
        self._place_rates()

    def _place_rates(self) -> None:
        """Move tensors of rates to the device of the weights, so that no step waits for a
        transfer."""
        weight: Any = self.weight_hh_l0
        for name, z in self._rates.items():
            if isinstance(z, Tensor) and not weight.is_meta:
                self._rates[name] = z.to(weight.device)

    def after_move(self) -> None:
        """Move tensors of rates with the weights."""
        self._place_rates()

    def _static_names(self) -> list[str]:
        """Names of the buffers of static masks: for each layer and direction that of h, then that
        of c."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        suffixes = [
            f"_l{layer}{direction}" for layer in range(self.num_layers) for direction in directions
        ]
        states = [rate.removeprefix("z_") for rate in self.RATES]
        return [f"static_{state}{suffix}" for suffix in suffixes for state in states]

    def _draw_static(self) -> None:
        for words in self.buffers():
            words.random_(keep_masks.LEVELS, generator=self.generator)
