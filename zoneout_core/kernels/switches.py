"""Environment variables that change how numbers are computed: for tests, for comparisons, and to
look for the cause of a difference. Each changes bits. Where one is set, it is part of the `reason`
in a trial's `Placement`.

    ZONEOUT_PRODUCT=mm|addmm|onednn   the matrix product, not the one that is fastest here
    ZONEOUT_TANH=sigmoid              tanh as 2 sigmoid(2x) - 1, as it once was: imprecise near 0
    ZONEOUT_FLUSH_SUBNORMALS=0        calculate with subnormal numbers, however slowly
"""

import os

TANH_BY_SIGMOID = os.environ.get("ZONEOUT_TANH", "") == "sigmoid"
"""Read once, as the kernels ask at every step."""


def product() -> str:
    """The product that is asked for; empty = none."""
    return os.environ.get("ZONEOUT_PRODUCT", "")


def flushes_subnormals() -> bool:
    """Whether subnormal numbers are to become 0."""
    return os.environ.get("ZONEOUT_FLUSH_SUBNORMALS", "1") != "0"


def note() -> str:
    """The variables that are set and that no other part of a reason mentions:
    `; ZONEOUT_TANH=sigmoid`, or nothing."""
    if TANH_BY_SIGMOID:
        return "; ZONEOUT_TANH=sigmoid"
    return ""
