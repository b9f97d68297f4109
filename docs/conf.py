"""How `make docs` builds the pages: the repository is the source, README the front page, its list of pages the menu."""

import re
from pathlib import Path
from typing import Any

project = "maskviz"
author = "the maskviz authors"
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**",
    "samples/README.md",
    "samples/coverage.md",
    "samples/module-coverage.md",
]
exclude_patterns = ["docs/conf.py", "docs/site", "**/*.ipynb", "maskviz", "tests", "tools", "build", "dist", "**/.*"]
extensions = ["myst_parser"]
myst_heading_anchors = 3  # sections are linked to as GitHub links to them
html_theme = "furo"
smartquotes = False  # an option keeps its two dashes
html_title = "maskviz"
html_static_path = ["site"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_copyright = False


def menu(readme: str) -> str:
    """The list of pages of README as tables of contents, one for each of its lines."""
    pages = readme.split("\n## Pages\n")[1].split("\n## ")[0]
    groups = re.findall(r"^- \*\*(.+?)\*\*:(.+?)(?=^- |\Z)", pages, re.DOTALL | re.MULTILINE)
    tables = []
    for title, links in groups:
        entries = "\n".join(re.findall(r"\]\((\S+)\.md\)", links))
        tables.append(f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n")
    return "".join(tables)


def opened(text: str) -> str:
    """A page whose links to HTML files open them; else they are downloads. `make docs` copies the files."""
    return re.sub(r"\[([^\]]+)\]\((\S+\.html)\)", r'<a href="\2">\1</a>', text)


def with_pictures(readme: str) -> str:
    """README with one picture for each question behind its quickstart, as the site's first page has them."""
    before, heading, behind = readme.partition("\n## Questions people ask")
    pictures = (Path(__file__).parent / "site" / "pictures.myst").read_text("utf-8")
    return f"{before}\n{pictures}{heading}{behind}"


def _read(_app: Any, page: str, source: list[str]) -> None:
    source[0] = opened(source[0])
    if page == root_doc:
        source[0] = with_pictures(source[0]) + menu(source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
