"""Hooks of mkdocs.yml: pages made of the root's documents and of every package's docstrings."""

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zoneout_core", "search_spaces", "sweeps", "analysis")
ROOT_PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
FIRST = ("architecture", "modules", "settings", "reproduce", "gallery", "results", "spec")
"""Documents in the order of reading; others come after them."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
STYLE = """
.wy-nav-content { max-width: 60rem; }
.rst-content h2.doc-heading { border-top: 1px solid #e1e4e5; padding-top: 1.2rem; }
.rst-content h3.doc-heading { font-size: 1.1rem; }
.rst-content :is(h4, h5, h6).doc-heading { font-size: 1rem; }
.doc-contents { margin-left: 1.2rem; }
.rst-content table.docutils td { white-space: normal; }
.rst-content .codehilite pre { overflow-x: auto; }
"""


def packages() -> list[str]:
    """Every package by its dotted name, each after the one that it is in."""
    return [
        ".".join(init.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for init in sorted((ROOT / package).rglob("__init__.py"))
    ]


def public_modules(package: str) -> list[str]:
    """The modules of a package by their dotted names; files like `_parts.py` are its own affair."""
    folder = ROOT.joinpath(*package.split("."))
    names = sorted(file.stem for file in folder.glob("*.py"))
    return [f"{package}.{name}" for name in names if not name.startswith("_")]


def api_page(package: str) -> str:
    """The Markdown of a package's page: mkdocstrings puts the docstrings there."""
    parts = [f"# {package}", f"::: {package}\n    options:\n      show_root_heading: false"]
    parts += [f"::: {module}" for module in public_modules(package)]
    return "\n\n".join(parts) + "\n"


def documents() -> list[str]:
    """The pages of docs/, in the order of reading."""
    names = sorted(file.stem for file in (ROOT / "docs").glob("*.md"))
    first = [name for name in FIRST if name in names]
    return first + [name for name in names if name not in first]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The menu: documents first, then packages."""
    others = [f"{name}.md" for name in documents()]
    api = [{package: f"api/{package}.md"} for package in packages()]
    root = [page for page in ROOT_PAGES.values() if page != "index.md"]
    config.nav = [{"zoneout-sweeps": "index.md"}, *others, *root, {"Packages": api}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the style that no file of docs/ holds."""
    for source, page in ROOT_PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=text))
    for package in packages():
        files.append(File.generated(config, f"api/{package}.md", content=api_page(package)))
    style = HtmlFormatter().get_style_defs(".codehilite") + STYLE
    files.append(File.generated(config, "css/site.css", content=style))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Links between documents, as a checkout has them, become links between pages; one to a file
    that is no page becomes its text."""
    origins = {page: source for source, page in ROOT_PAGES.items()}
    source = origins.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def replaced(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if target.startswith("http"):
            return match[0]
        path = normalised(PurePosixPath(source).parent / target)
        uri = ROOT_PAGES.get(path, path.removeprefix("docs/"))
        if not files.get_file_from_path(uri):
            return text
        return f"{image}[{text}]({uri}{anchor or ''})"

    return LINK.sub(replaced, markdown)


def normalised(path: PurePosixPath) -> str:
    """Without `..`: `docs/../SECURITY.md` is `SECURITY.md`."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
