"""The provenance of a run: code, versions, data, machine. It is written before training starts, and
no number depends on it."""

import importlib.metadata
import os
import platform
import socket
import subprocess
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from sweeps import secrets
from sweeps.books import checksums, journal
from sweeps.books.events import DataIdentity, DriverEvent, Provenance
from zoneout_core.config import registry

DIRTY_DIFF_BYTES = 1_000_000
"""A longer diff is cut, and says so."""


class Code(Struct, frozen=True, kw_only=True):
    """The code of a driver; empty for an installed wheel."""

    commit: str | None = None
    diff: str | None = None
    """Its uncommitted changes."""


class Machine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a driver ran."""

    host: str
    system: str = ""
    cpu: str = ""
    cores: int | None = None
    threads: int = 0
    """CPU threads of a lane server."""


class DriverEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the trials of one driver were made of."""

    time: str
    """UTC, `2026-11-21T23:15:00Z`."""
    code: Code
    data: DataIdentity
    plugins: dict[str, str] = {}
    """The source hash of every plug-in, by `cells/mine`."""
    python: str = ""
    packages: dict[str, str] = {}
    """Every installed version."""
    machine: Machine
    from_journal: bool = False
    """The file was lost, and the entry comes from the journal, which has neither diff nor
    packages."""


class _File(Struct, frozen=True):
    drivers: list[DriverEntry]


def collect(task: str, variant: str, sha256: str, threads: int) -> DriverEntry:
    """The entry of this process: commit and diff of the code, source hashes of plug-ins, every
    installed version, hash of the data, machine and threads."""
    return DriverEntry(
        time=_utc(time.time()),
        code=_code(),
        data=DataIdentity(task=task, variant=variant, sha256=sha256),
        plugins=registry.digests(),
        python=platform.python_version(),
        packages=_packages(),
        machine=Machine(
            host=socket.gethostname(),
            system=platform.platform(),
            cpu=_cpu(),
            cores=os.cpu_count(),
            threads=threads,
        ),
    )


def _packages() -> dict[str, str]:
    """The version of every installed distribution, by name."""
    metadata = (distribution.metadata for distribution in importlib.metadata.distributions())
    versions = [(entry["Name"], entry["Version"]) for entry in metadata]
    return dict(sorted(versions, key=lambda item: item[0].lower()))


def content(drivers: list[DriverEntry]) -> dict[str, object]:
    """The content of `provenance.json` for these drivers, as plain data."""
    return {"drivers": msgspec.to_builtins(drivers)}


def summary(entry: DriverEntry) -> Provenance:
    """The part of an entry that the journal has too: enough for `known` if provenance.json is
    lost."""
    return Provenance(commit=entry.code.commit, data=entry.data, threads=entry.machine.threads)


def known(file: Path, journal_file: Path) -> tuple[list[DriverEntry], str]:
    """The entry of each driver of a run, oldest first, and what is wrong with `file`; empty when it
    is sound.

    If the file is lost or damaged, shorter entries come from the journal. Raises `RunError` when
    that is damaged too.
    """
    fault = ""
    try:
        return msgspec.convert(checksums.read(file), _File).drivers, ""
    except FileNotFoundError:
        pass
    except (ValueError, OSError) as error:
        fault = f"{type(error).__name__}: {error}"
    entries = []
    for event in journal.read(journal_file):
        if isinstance(event, DriverEvent) and event.data is not None:
            entries.append(_from_journal(event, event.data))
    return entries, fault


def _from_journal(driver: DriverEvent, data: DataIdentity) -> DriverEntry:
    return DriverEntry(
        time=_utc(driver.time),
        code=Code(commit=driver.commit),
        data=data,
        machine=Machine(host=driver.host, threads=driver.threads),
        from_journal=True,
    )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _code() -> Code:
    """The commit that the packages run from, and its uncommitted changes; empty for an installed
    wheel."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            process = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return process.stdout

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return Code()
    diff = secrets.mask(git("diff", "HEAD") or "")
    if len(diff) > DIRTY_DIFF_BYTES:
        cut = "\n[cut: the diff is longer]"
    else:
        cut = ""
    return Code(commit=commit.strip(), diff=diff[:DIRTY_DIFF_BYTES] + cut)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        "unknown",
    )
