"""The pages of `make docs`: complete, whole, and without anything from elsewhere."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

PACKAGES = ("analysis", "search_spaces", "sweeps", "zoneout_core")
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """The addresses of a page, each with its tag and attribute, and the names it can be entered by."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str, str]] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value:
                self.addresses.append((tag, name, value))
            if name == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=repo_root,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html")}


def test_every_package_and_document_has_a_page(site: Path, repo_root: Path) -> None:
    for package in PACKAGES:
        for init in (repo_root / package).rglob("__init__.py"):
            name = ".".join(init.parent.relative_to(repo_root).parts)
            assert (site / "api" / f"{name}.html").is_file()
    for document in (repo_root / "docs").glob("*.md"):
        assert (site / f"{document.stem}.html").is_file()


def test_public_things_are_described_and_private_ones_are_not(pages: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for page in pages.values()))
    for name in (
        "zoneout_core.modules.lstm.ZoneoutLSTM",
        "zoneout_core.training.pack.Pack.admit",
        "sweeps.books.study.Study.ask",
        "analysis.paper_table.to_csv",
    ):
        assert name in anchors
    assert [name for name in anchors if "._" in name] == []


def test_a_browser_loads_nothing_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    for file, page in pages.items():
        for tag, attribute, address in page.addresses:
            if (tag, attribute) in LOADED:
                assert not urlsplit(address).netloc, (file.name, address)
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(), style
        assert "url(//" not in style.read_text(), style


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        if file.name == "404.html":  # its links begin at the server's root
            continue
        for _, _, address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.exists(), (file.name, address)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, (file.name, address)
