"""Conformance: what every cell, regularizer and task has to satisfy, as tests that anyone can run.

    python -m sweeps.conformance --plugins DIR

tests the files of a folder of plug-ins, those of spaces and sweeps included. Without plug-ins, each
file of the project is tested, and of installed packages; `make test` does so. A test says the rule
that it checks when it fails. Needs pytest: `pip install zoneout-sweeps[conformance]`.
"""

from zoneout_core.config import registry


def subjects(package: str) -> list[str]:
    """The names of `package` to test: those of the plug-ins in use, or all when there are none."""
    if not registry.active():
        return registry.names(package)
    return registry.active().names(registry.KINDS[package])
