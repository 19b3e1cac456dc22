"""What a run was made of: code, versions, data, machine. Written before anything starts, never part
of a number."""

import importlib.metadata
import os
import platform
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps import secrets
from sweeps.books import journal, sealed
from zoneout_core.config import registry

DIRTY_DIFF_BYTES = 1_000_000
"""A longer diff is cut, and says so."""


def collect(task: str, variant: str, sha256: str, threads: int) -> dict[str, Any]:
    """Plain data: commit and diff of the code, source hashes of plug-ins, every installed version,
    hash of the data, machine and threads."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "code": _code(),
        "data": {"task": task, "variant": variant, "sha256": sha256},
        "plugins": registry.digests(),
        "python": platform.python_version(),
        "packages": {
            d.name: d.version
            for d in sorted(importlib.metadata.distributions(), key=lambda d: d.name.lower())
        },
        "machine": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": threads,
        },
    }


def summary(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the journal's `driver` event says of an entry: enough for `known` when provenance.json
    is lost."""
    return {
        "commit": entry["code"]["commit"],
        "data": entry["data"],
        "threads": entry["machine"]["threads"],
    }


def known(file: Path, journal_file: Path) -> tuple[list[dict[str, Any]], str]:
    """The entry of each driver of a run, oldest first, and what is wrong with `file`; empty when it
    is sound.

    What a lost or damaged file said is taken from the journal, where it is shorter: neither diff
    nor packages. Raises `RunError` when that is damaged too.
    """
    try:
        entries: list[dict[str, Any]] = sealed.read(file)["drivers"]
        return entries, ""
    except (ValueError, KeyError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            wrong = ""
        else:
            wrong = f"{type(error).__name__}: {error}"
    drivers = [
        event
        for event in journal.read(journal_file)
        if event["event"] == "driver" and "data" in event
    ]
    return [_entry(event) for event in drivers], wrong


def _entry(driver: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(driver["time"])),
        "code": {"commit": driver["commit"], "diff": None},
        "data": driver["data"],
        "machine": {"host": driver["host"], "threads": driver["threads"]},
        "from_journal": True,
    }


def _code() -> dict[str, Any]:
    """The commit the packages run from and what differs from it; empty for an installed wheel."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "diff": None}
    diff = secrets.mask(git("diff", "HEAD") or "")
    if len(diff) > DIRTY_DIFF_BYTES:
        cut = "\n[cut: the diff is longer]"
    else:
        cut = ""
    return {"commit": commit.strip(), "diff": diff[:DIRTY_DIFF_BYTES] + cut}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        "unknown",
    )
