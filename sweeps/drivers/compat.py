"""The private parts of Ray that this package uses. Checked with Ray 2.60;
`tests/sweeps/test_compat.py` fails when another version changes them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

_raylet: Any = ray._raylet  # its types lack the attributes used here

LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where this is 0, Ray listens on the loopback only, as it does on the systems in its name. Ray has
no option for it."""


@contextmanager
def on_the_loopback() -> Iterator[None]:
    """While open, a Ray that this process starts listens on the loopback only.

    Ray reads `LOOPBACK_VARIABLE` into a constant on import, which may have been before the variable
    was set.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def reread_environment() -> None:
    """Have the Ray of this process read its authentication variables again. It reads the mode on
    import and the token on first use, and keeps both."""
    _raylet.Config.initialize("")
    _raylet.AuthenticationTokenLoader.instance().reset_cache()
