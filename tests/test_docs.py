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
            assert not function or f"def {function}(" in (repo_root / file).read_text(), (
                document.name,
                name,
            )


def test_the_examples_of_plugins_are_those_that_are_tested(repo_root: Path) -> None:
    blocks = re.findall(
        r"^`DIR/([^`]+)`\n\n```python\n(.*?)^```",
        (repo_root / "docs/plugins.md").read_text(),
        re.M | re.S,
    )
    examples = {
        str(file.relative_to(repo_root / "tests/plugins")): file.read_text()
        for file in (repo_root / "tests/plugins").rglob("*.py")
    }
    assert dict(blocks) == examples


def promises(text: str) -> list[str]:
    """What is bold at the beginning of a list's item or of a table's row, without the full stop."""
    return [found.rstrip(".") for found in re.findall(r"^[|-] \*\*(.+?)\*\*", text, re.MULTILINE)]


def section(text: str, heading: str) -> str:
    """What stands between `## heading` and the next one."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_promise_has_a_test(repo_root: Path) -> None:
    readme, security = ((repo_root / name).read_text() for name in ("README.md", "SECURITY.md"))
    promised = [
        *promises(section(readme, "Quick start")),
        *promises(section(readme, "What it promises, and how to check")),
        *promises(section(security, "What is promised")),
    ]
    assert len(promised) == 4 + 7 + 4
    rows = (repo_root / "docs" / "promises.md").read_text()
    for promise in promised:
        (tests,) = re.findall(rf"^\| {re.escape(promise)} \| (.+) \|$", rows, re.MULTILINE)
        assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`(, `tests/[\w/]+\.py::test_\w+`)*", tests)


def test_every_attack_of_security_has_a_test(repo_root: Path) -> None:
    """A file is named with its folder once, and after that without."""
    attacks = section((repo_root / "SECURITY.md").read_text(), "The attacks tried")
    rows = re.findall(r"^\| (.+) \| (.+) \|$", attacks, re.MULTILINE)[1:]
    assert len(rows) > 10
    for attack, test in rows:
        name = re.fullmatch(r"`(?:tests/sweeps/)?(test_\w+\.py)::(test_\w+)`", test)
        assert name or test == "the same", attack
        if name:
            text = (repo_root / "tests" / "sweeps" / name[1]).read_text()
            assert f"def {name[2]}(" in text, test


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
