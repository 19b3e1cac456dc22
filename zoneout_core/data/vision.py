"""torchvision, even with a PyTorch that its operators were not built for."""

import sys
from typing import Any

_stub: list[Any] = []
"""Keeps the definitions below alive; empty where they are not needed."""


def torchvision() -> Any:
    """The package `torchvision`. Its data sets and transforms work; its compiled operators may be
    missing.

    PyPI's torchvision is built against CUDA. With a PyTorch for CPUs its operators cannot be
    loaded, and its import fails on two of them that it describes without checking that they exist.
    Only then these two are declared, without an implementation: calling them still raises.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _stub.append(torch.library.Library("torchvision", "FRAGMENT"))
        for operator in ("nms", "qnms"):
            _stub[0].define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        import torchvision
    return torchvision
