"""Regularizers: what disturbs training. To add one, add a file here that exports `PART`, a
`Regularizer`.

A regularizer is a *mask program*: it says at which sites of a step masks act, along which axes a
draw is shared, and what replaces them in an evaluation (`zoneout_core.masking.program`). Two kinds
of regularizer need no mask: weight noise, and a `Penalty` on the loss.

Settings may differ from lane to lane, unless they change the arithmetic (the form of an output
gate). Fields named `z_*` are probabilities of PRESERVING the old value, `p_*` of DROPPING. The
default of every field is "off". Imports no torch.
"""

from zoneout_core.config import registry
from zoneout_core.config.contracts import Penalty, Regularizer, Surroundings
from zoneout_core.config.fields import LANE, require, require_dropped, require_probability
from zoneout_core.masking.program import Axis, Mask, Site, changed, dropout, sampled

__all__ = [
    "LANE",
    "Axis",
    "Mask",
    "Penalty",
    "Regularizer",
    "Site",
    "Surroundings",
    "changed",
    "dropout",
    "names",
    "require",
    "require_dropped",
    "require_probability",
    "sampled",
]


def names() -> list[str]:
    """All regularizers, sorted."""
    return registry.names(__name__)
