"""Fixtures of the suite, and the report of a failed test."""

import inspect
from collections.abc import Generator

import pytest

from zoneout_core.conformance import subjects
from zoneout_core.conformance.texts import ring
from zoneout_core.tasks import Corpus

FILES = {
    "test_cells.py": "zoneout_core.cells",
    "test_cells_in_packs.py": "zoneout_core.cells",
    "test_regularizers.py": "zoneout_core.regularizers",
    "test_regularizers_in_packs.py": "zoneout_core.regularizers",
    "test_tasks.py": "zoneout_core.tasks",
}
# A folder without cells needs no tests of cells.
collect_ignore = [file for file, package in FILES.items() if not subjects(package)]


@pytest.fixture(scope="session")
def tiny_corpus() -> Corpus:
    """See `texts.ring`."""
    return ring()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure begins with the rule that is broken: the docstring of the test."""
    report = yield
    rule = inspect.getdoc(getattr(item, "function", None))
    if report.failed and rule:
        report.sections.insert(0, ("The rule", f"{item.name}: {rule}"))
    return report
