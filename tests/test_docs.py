"""What the documents promise about themselves."""

import os
import re
import subprocess
import sys
from pathlib import Path

CITATION = re.compile(r"\bspec(?: sections?)?((?:,? (?:and )?\d+(?:\.\d+)*\b)+)")
HEADING = re.compile(r"^(?:#{2,3} |)(\d+(?:\.\d+)?)[. ]", re.MULTILINE)


def cited(text: str) -> set[str]:
    """Sections of docs/spec.md that a text names: `spec section 9.1`, `spec sections 2.3, 3 and 5`,
    `spec 9.5`."""
    return {
        number
        for match in CITATION.finditer(text)
        for number in re.findall(r"\d+(?:\.\d+)*", match[1])
    }


def test_citations_are_read() -> None:
    assert cited("(spec sections 2.2, 3 and 5), spec 9.15; spec section 12, row 28") == {
        "2.2",
        "3",
        "5",
        "9.15",
        "12",
    }


def test_every_section_of_the_specification_that_is_cited_is_there(repo_root: Path) -> None:
    sections = set(HEADING.findall((repo_root / "docs" / "spec.md").read_text()))
    assert {"0", "2.5", "9.16", "11.3", "14"} <= sections
    files = [
        *repo_root.glob("*/**/*.py"),
        repo_root / "README.md",
        *(repo_root / "docs").glob("*.md"),
    ]
    missing = {
        str(file.relative_to(repo_root)): absent
        for file in files
        if ".venv" not in file.parts and (absent := cited(file.read_text()) - sections)
    }
    assert missing == {}


def test_every_test_and_file_that_a_document_names_is_there(repo_root: Path) -> None:
    for document in (repo_root / "README.md", *(repo_root / "docs").glob("*.md")):
        for name in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", document.read_text()):
            file, _, function = name.partition("::")
            assert (repo_root / file).is_file(), (document.name, name)
            assert f"def {function}" in (repo_root / file).read_text(), (document.name, name)


def test_every_promise_of_the_readme_has_a_test(repo_root: Path) -> None:
    promised = re.findall(
        r"^\| \*\*(.+?)\.\*\*", (repo_root / "README.md").read_text(), re.MULTILINE
    )
    kept = (repo_root / "docs" / "promises.md").read_text()
    assert len(promised) == 7
    assert [promise for promise in promised if f"| {promise} |" not in kept] == []


def test_every_link_of_a_document_leads_somewhere(repo_root: Path) -> None:
    for document in (*repo_root.glob("*.md"), *(repo_root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert target.startswith("http") or (document.parent / target).exists(), (
                document.name,
                target,
            )


def test_the_table_of_events_is_that_of_their_classes(repo_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "docs/list_events.py", "--check"],
        cwd=repo_root,
        env=os.environ | {"PYTHONPATH": str(repo_root)},
        timeout=60,
    )
    assert done.returncode == 0, "write it again with: python docs/list_events.py"
