"""Checks of the arguments of a forward pass. Messages say the rule, the value and the next step."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from zoneout_core.modules.weights import autocast_dtype


def check_inputs(module: nn.RNNBase, inputs: object) -> None:
    """Raises `TypeError` when `inputs` is neither a tensor nor a packed sequence, and `ValueError`
    unless it is a sequence of at least one step that `module` can read."""
    name = type(module).__name__
    if not isinstance(inputs, Tensor | PackedSequence):
        raise TypeError(
            f"{name}: the input must be a tensor or a PackedSequence, but is a"
            f" {type(inputs).__name__}."
        )
    packed = isinstance(inputs, PackedSequence)
    x = inputs.data if isinstance(inputs, PackedSequence) else inputs
    if not packed and x.dim() not in (2, 3):
        axes = "[batch, steps, input]" if module.batch_first else "[steps, batch, input]"
        raise ValueError(
            f"{name}: the input must be {axes}, or [steps, input] without a batch, but has the"
            f" shape {list(x.shape)}."
        )
    if x.shape[-1] != module.input_size:
        raise ValueError(
            f"{name}: the input's last axis must be input_size={module.input_size}, but its shape"
            f" is {list(x.shape)}. Mind that batch_first says which of the first two axes is the"
            " batch."
        )
    time_axis = 1 if not packed and x.dim() == 3 and module.batch_first else 0
    if x.shape[time_axis] == 0:
        raise ValueError(
            f"{name}: the input must have at least one step, but its shape is {list(x.shape)}."
        )
    _check_precision(module, "the input", x)


def check_states(
    module: nn.RNNBase, states: tuple[Tensor, ...], count: int, batch: int | None
) -> None:
    """Raises `ValueError` unless `states` are `count` tensors [layers * directions, batch, H].

    batch: None where the input has no batch axis; the states then have none either.
    """
    name = type(module).__name__
    if len(states) != count or not all(isinstance(state, Tensor) for state in states):
        if count == 2:
            must = "a tuple of two tensors (h_0, c_0)"
        else:
            must = "one tensor h_0"
        kinds = ", ".join(type(state).__name__ for state in states)
        raise ValueError(f"{name}: the initial state must be {must}, but is ({kinds}).")
    rows = module.num_layers * (2 if module.bidirectional else 1)
    must = f"[layers * directions, batch, H] = {[rows, batch, module.hidden_size]}"
    if batch is None:
        must = f"[layers * directions, H] = {[rows, module.hidden_size]}, as the input has no batch"
    shape = [rows, module.hidden_size] if batch is None else [rows, batch, module.hidden_size]
    for label, state in zip(("h_0", "c_0"), states, strict=False):
        if list(state.shape) != shape:
            raise ValueError(
                f"{name}: {label} must be {must}, but has the shape {list(state.shape)}."
            )
        _check_precision(module, label, state)


def _check_precision(module: nn.RNNBase, label: str, value: Tensor) -> None:
    """Raises `ValueError` unless `value` has the precision of the weights, as in torch.nn, or
    autocast is on."""
    weight: Any = module.weight_hh_l0
    if value.dtype != weight.dtype and autocast_dtype(weight) is None:
        rule = f"{label} must have the precision of the weights, {weight.dtype}"
        raise ValueError(
            f"{type(module).__name__}: {rule}, but has {value.dtype}. Convert it with"
            f" .to({weight.dtype})."
        )
