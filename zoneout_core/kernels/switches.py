"""Environment variables that change how numbers are computed, for tests, for comparisons, and to
find the cause of a difference. Each changes bits. The `reason` of a trial's `Placement` names those
that are set.

    ZONEOUT_PRODUCT=mm|addmm|onednn   this matrix product, not the fastest one
    ZONEOUT_TANH=sigmoid              tanh as 2 sigmoid(2x) - 1, which is imprecise near 0
    ZONEOUT_FLUSH_SUBNORMALS=0        keep subnormal numbers, which are slow
"""

import os

TANH_BY_SIGMOID = os.environ.get("ZONEOUT_TANH", "") == "sigmoid"
"""Read once, since the kernels ask at every step."""


def product() -> str:
    """The product that the user asks for; empty if none."""
    return os.environ.get("ZONEOUT_PRODUCT", "")


def flushes_subnormals() -> bool:
    """Whether subnormal numbers become 0."""
    return os.environ.get("ZONEOUT_FLUSH_SUBNORMALS", "1") != "0"


def note() -> str:
    """The variables that are set and that no other part of a reason names: `; ZONEOUT_TANH=sigmoid`
    or nothing."""
    if TANH_BY_SIGMOID:
        return "; ZONEOUT_TANH=sigmoid"
    return ""
