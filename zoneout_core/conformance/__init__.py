"""Conformance: the rules for every cell, regularizer and task, as tests that anyone can run.

    python -m sweeps.conformance --plugins DIR

tests the files of a folder of plug-ins, including spaces and sweeps. Without plug-ins, every file
of the project and of installed packages is tested; `make test` does so. A test that fails prints
the rule that it checks. Needs pytest: `pip install zoneout-sweeps[conformance]`.
"""

from zoneout_core.config import registry


def subjects(package: str) -> list[str]:
    """The names of `package` to test: those of the plug-ins in use, or all when there are none."""
    if not registry.active():
        return registry.names(package)
    return registry.active().names(registry.KINDS[package])
