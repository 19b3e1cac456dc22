"""The training core: zoneout recurrent networks, trained many lanes at a time.

It imports numpy and torch only, and neither of them here: `config`, `records`, `errors` and the
metadata of `tasks` can be imported without torch, because the command line must start fast. The
drop-in modules `ZoneoutLSTM`, `ZoneoutGRU` and `ZoneoutRNN` import torch when they are accessed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoneout_core.modules import ZoneoutGRU, ZoneoutLSTM, ZoneoutRNN

__all__ = ["ZoneoutGRU", "ZoneoutLSTM", "ZoneoutRNN"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("zoneout_core.modules"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
