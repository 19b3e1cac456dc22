"""What every LSTM does with its four gates: write the cell, read the state from it, zone both out
(spec 9.16).

    c~ = f * c' + k * i * g       c = d_c * c' + (1 - d_c) * c~
    h~ = o * read(c~)             h = d_h * h' + (1 - d_h) * h~

A prime marks the previous step. The state is read from the candidate cell c~, before zoneout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from zoneout_core.cells import State
from zoneout_core.cells._arithmetic import gain, mix
from zoneout_core.masking.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor

SITES = frozenset(
    {"inputs", "recurrent", "update", "cells", "carried", "states", "keep_cells", "keep_states"}
)
"""The sites of such a cell. Not every LSTM has masks on its output gate."""


class Gates(NamedTuple):
    """The gates of one step, each [B, H], after their nonlinearities."""

    i: Tensor
    f: Tensor
    o: Tensor
    g: Tensor


def gates(a_BG: Tensor) -> Gates:
    """The gates from their pre-activations, in blocks i, f, o, g."""
    hidden = a_BG.shape[-1] // 4
    a_ifo, a_g = a_BG.split([3 * hidden, hidden], dim=-1)
    i, f, o = a_ifo.sigmoid().chunk(3, dim=-1)
    return Gates(i, f, o, a_g.tanh())


def candidate(step_gates: Gates, c_old: Tensor, sites: Sites) -> Tensor:
    """The candidate cell, [B, H]."""
    return step_gates.f * c_old + gain(sites.update, step_gates.i * step_gates.g)


class Written(NamedTuple):
    """The states after a step, each [B, H]."""

    h: Tensor
    c: Tensor
    candidate: Tensor
    """The state before it was zoned out."""


def write(
    cell: Tensor, o: Tensor, old: State, sites: Sites, read: Callable[[Tensor], Tensor]
) -> Written:
    """The rest of the step, from the candidate cell. old: (h, c) of the previous step; read: the
    function of the cell that the output gate multiplies."""
    h_old, c_old = old
    cell = gain(sites.cells, cell)
    h_new = gain(sites.states, o * read(cell))
    c = mix(sites.keep_cells, c_old, gain(sites.carried, cell))
    return Written(mix(sites.keep_states, h_old, h_new), c, h_new)


def remembers_gate(sites: Sites) -> bool:
    """Whether the masks need the output gate of the previous step: a third state, which starts at
    0."""
    return sites.gate is not None and sites.gate_form != "code"


def opened(o: Tensor, o_old: Tensor, sites: Sites) -> tuple[Tensor, Tensor]:
    """The output gate of this step, and the old gate that the next step reads (spec 9.5)."""
    assert sites.gate is not None
    if sites.gate_form == "literal":  # as printed: the old gate where the cell *was* updated
        return sites.gate * o_old + (1 - sites.gate) * o, o
    mixed = sites.gate * o + (1 - sites.gate) * o_old
    if sites.gate_form == "intent":
        return mixed, mixed
    return mixed, o
