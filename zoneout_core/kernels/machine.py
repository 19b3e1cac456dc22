"""The properties of this machine's processor on which the arithmetic depends."""

import os
import platform
from functools import cache
from pathlib import Path
from typing import Final

import torch

LIMITS: Final = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
)
"""Environment variables that keep libraries from using instructions that the processor has."""
IDENTITY: Final = (
    "model name",
    "cpu family",
    "model",
    "stepping",
    "CPU implementer",
    "CPU part",
    "CPU variant",
)
"""Fields of /proc/cpuinfo; the last three are Arm's."""


@cache
def processor() -> str:
    """The model of the processor, as reported by the system."""
    cpuinfo = _cpuinfo()
    identity = ", ".join(cpuinfo[name] for name in IDENTITY if name in cpuinfo)
    return identity or platform.processor() or "unknown"


def instructions() -> str:
    """The instruction sets that torch's own loops use here, and the limits set for libraries."""
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *limits])


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively. Otherwise libraries emulate it, which is
    slower than float32."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if hasattr(torch.cpu, name) and getattr(torch.cpu, name)():
            return True
    return "bf16" in _cpuinfo().get("Features", "").split()  # Arm


@cache
def _cpuinfo() -> dict[str, str]:
    """Linux's description of the first processor; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
