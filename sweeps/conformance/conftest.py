"""The message of a test that fails, as in `zoneout_core.conformance`."""

from zoneout_core.conformance import subjects
from zoneout_core.conformance.conftest import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]

FILES = {"test_spaces.py": "search_spaces", "test_sweeps.py": "sweeps.definitions"}
collect_ignore = [file for file, package in FILES.items() if not subjects(package)]
