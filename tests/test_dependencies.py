"""What the project depends on: each library has bounds, a tested version and a file that needs it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
REQUIREMENTS = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
]
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
}


def bounds(specifiers: SpecifierSet) -> list[str]:
    """The operators: `[">=", "<"]` in any order."""
    return sorted((specifier.operator for specifier in specifiers), reverse=True)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_a_dependency_has_a_lower_and_an_upper_bound(requirement: Requirement) -> None:
    assert bounds(requirement.specifier) == [">=", "<"], (
        f"{requirement}: name the oldest version that works and the first major that is untested"
    )


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_tested_version_lies_inside(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    assert name in PINS, f"{name} must be pinned in constraints.txt"
    assert requirement.specifier.contains(PINS[name]), f"{requirement}, but {PINS[name]} is pinned"


def test_the_upper_bound_is_the_next_major_or_the_one_after() -> None:
    """A bound far away protects from nothing."""
    for requirement in REQUIREMENTS:
        (upper,) = (s.version for s in requirement.specifier if s.operator == "<")
        pinned = PINS[canonicalize_name(requirement.name)]
        assert Version(upper).major - pinned.major == 1, requirement


def test_constraints_are_sorted_and_name_a_package_once() -> None:
    lines = [
        line.lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert lines == sorted(lines)
    assert len(lines) == len(PINS)


def test_a_dependency_names_a_file_that_needs_it() -> None:
    (block,) = re.findall(
        r"^dependencies = \[$.*?^\[project\.scripts\]$", PYPROJECT, re.MULTILINE | re.DOTALL
    )
    comments = re.findall(r'^    "[^"]+",\s*(.*)$', block, re.MULTILINE)
    assert len(comments) == len(REQUIREMENTS)
    for comment in comments:
        paths = re.findall(r"[\w/.]+[\w/]", comment.partition(":")[0])
        assert comment.startswith("# "), comment
        assert (ROOT / paths[0]).exists(), comment
