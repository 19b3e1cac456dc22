"""The cases of oracles.json in the words of zoneout_core: cell, parameters, masks by site, expected
numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from zoneout_core import kernels
from zoneout_core.cells import Cell, State
from zoneout_core.config import parts
from zoneout_core.masking.sites import Sites

BLOCKS = {"lstm": "ifog", "gru": "rzn", "rnn": "h"}
"""Our order of the gates, by the names of the oracles (whose z is our u)."""
OURS = {"w_DG": "Wx", "u_HG": "Wh", "b_G": "b"}
"""Our names of the parameters, and theirs."""
MASK_ORDER = "ifgo"
"""Of the gates in the variational masks."""


@dataclass(frozen=True)
class Case:
    """One case. Tensors are leaves of `dtype` where gradients are expected."""

    cell: Cell
    blocks: str
    p: dict[str, Tensor]
    x: Tensor
    state: State
    sites: Sites
    training: bool
    expected: dict[str, Any] = field(repr=False)
    loss_weights: dict[str, Tensor] = field(repr=False)


def tensor(data: Any, dtype: torch.dtype) -> Tensor:
    return torch.tensor(data, dtype=dtype)


def side_by_side(parts: Mapping[str, Any], blocks: str, dtype: torch.dtype) -> Tensor:
    """The gates' matrices (or biases) in one, in the order of `blocks`."""
    return torch.cat([tensor(parts[gate], dtype) for gate in blocks], dim=-1)


def case(oracles: dict[str, Any], name: str, dtype: torch.dtype) -> Case:
    """The case `name` of oracles["cases"]."""
    (found,) = [one for one in oracles["cases"] if one["name"] == name]
    inputs, settings, kind = oracles["inputs"], found["settings"], found["cell"]
    blocks = BLOCKS[kind]
    p = {ours: side_by_side(inputs[kind][theirs], blocks, dtype) for ours, theirs in OURS.items()}
    hidden = len(p["u_HG"])
    if kind == "lstm":
        p["b_G"][hidden : 2 * hidden] += settings.get("forget_bias", 0.0)
    names = ("h", "c") if kind == "lstm" else ("h",)
    values = {"activation": settings["act"]} if "act" in settings else {}
    return Case(
        cell=parts.cell(kind)(**values),
        blocks=blocks,
        p={key: value.requires_grad_() for key, value in p.items()},
        x=tensor(inputs["X"], dtype).requires_grad_(),
        state=tuple(tensor(inputs[f"{key}0"], dtype).requires_grad_() for key in names),
        sites=SITES[found["mode"]](settings, found["train"], dtype),
        training=found["train"],
        expected=found,
        loss_weights={key: tensor(inputs[f"loss_weights_{key}"], dtype) for key in names},
    )


def through_cell(one: Case, state: State, t: int) -> State:
    """The states after step `t`, by the cell itself."""
    masks = one.sites.span(t, t + 1)
    return one.cell.run(one.p, one.x[t : t + 1], state, masks, training=one.training).last


def through_loop(one: Case, state: State, t: int) -> State:
    """The same as a pack of one lane, by the kernel that loops."""
    masks = Sites(**{name: mask[None] for name, mask in one.sites.span(t, t + 1).present().items()})
    masks = replace(masks, gate_form=one.sites.gate_form)
    precision = str(one.x.dtype).removeprefix("torch.")
    choice = kernels.choose(one.cell, precision, "cpu", implementation="loop")
    p = {name: value[None] for name, value in one.p.items()}
    x, states = one.x[None, t : t + 1], tuple(value[None] for value in state)
    last = kernels.recurrence(one.cell, p, x, states, masks, choice, training=one.training).last
    return tuple(value[0] for value in last)


def step_by_step(one: Case, run: Callable[[Case, State, int], State]) -> dict[str, Tensor]:
    """Outputs and gradients by the names of the oracles.

    Every h_t and c_t is an output of its own, so that it has its total derivative: dL_dh, dL_dc.
    """
    names = "hc"[: len(one.state)]
    state, found = one.state, []
    for t in range(len(one.x)):
        state = run(one, state, t)
        for value in state:
            value.retain_grad()
        found.append(state)
    every = dict(zip(names, zip(*found, strict=True), strict=False))
    results = {name: torch.stack(values) for name, values in every.items()}
    results["loss"] = sum((results[name] * one.loss_weights[name]).sum() for name in names)
    results["loss"].backward()
    results |= {f"dL_d{name}": torch.stack([value.grad for value in every[name]]) for name in names}
    results |= {f"{name}0": value.grad for name, value in zip(names, one.state, strict=True)} | {
        "X": one.x.grad
    }
    for ours, theirs in OURS.items():
        parts = one.p[ours].grad.chunk(len(one.blocks), dim=-1)
        results |= {f"{theirs}.{gate}": part for gate, part in zip(one.blocks, parts, strict=True)}
    return {name: value.detach() for name, value in results.items()}


def expected(one: Case) -> dict[str, Any]:
    """The numbers that `step_by_step` has to find."""
    outputs = {name: one.expected["outputs"][name] for name in "hc"[: len(one.state)]}
    return outputs | {"loss": one.expected["loss"]} | one.expected["grads"]


def _nothing(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    return Sites()


def _zoneout(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    def keep(mask: str, rate: str) -> Tensor | None:
        if mask in settings:
            return tensor(settings[mask], dtype)
        return tensor(settings[rate], dtype).view(1, 1, 1) if rate in settings else None

    return Sites(keep_cells=keep("mc", "zc"), keep_states=keep("mh", "zh"))


def _stochastic_depth(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    value = (
        tensor(settings["m"], dtype).unsqueeze(-1)
        if training
        else tensor(settings["z"], dtype).view(1, 1, 1)
    )
    return Sites(keep_cells=value, keep_states=value)


def _kept(
    settings: dict[str, Any],
    training: bool,
    dtype: torch.dtype,
    mask: str = "k",
    rate: str = "keep",
) -> Tensor:
    """A mask that lets through, or its expectation."""
    if not training:
        return tensor(settings[rate], dtype).view(1, 1, 1)
    value = tensor(settings[mask], dtype)
    value = value / settings[rate] if settings.get("inverted") else value
    return value if value.dim() == 3 else value.unsqueeze(0)  # a mask for the whole sequence


def _recurrent_dropout(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    return Sites(update=_kept(settings, training, dtype))


def _output_gate(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    kept = _kept(settings, training, dtype)
    return Sites(update=kept, gate=kept, gate_form=settings["variant"])


def _naive_cells(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    return Sites(cells=_kept(settings, training, dtype))


def _naive_both(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    return Sites(
        carried=_kept(settings, training, dtype),
        states=_kept(settings, training, dtype, mask="k2", rate="keep2"),
    )


def _rnn_drop(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    return Sites(cells=_kept(settings, training, dtype, mask="kseq"))


def _variational(settings: dict[str, Any], training: bool, dtype: torch.dtype) -> Sites:
    """[gates, B, U] of the oracle -> [1, B, gates, U], inverted."""
    order = [MASK_ORDER.index(gate) for gate in BLOCKS["lstm"]]

    def masks(name: str, rate: str) -> Tensor:
        return (tensor(settings[name], dtype)[order] / settings[rate]).transpose(0, 1).unsqueeze(0)

    return Sites(inputs=masks("mx", "keep_x"), recurrent=masks("mh", "keep_h"))


SITES: dict[str, Callable[[dict[str, Any], bool, torch.dtype], Sites]] = {
    "plain": _nothing,
    "zoneout": _zoneout,
    "stochdepth": _stochastic_depth,
    "recdrop": _recurrent_dropout,
    "ogate": _output_gate,
    "naive_c": _naive_cells,
    "naive_ch": _naive_both,
    "rnndrop": _rnn_drop,
    "variational": _variational,
}
"""Masks by the oracle's mode."""
