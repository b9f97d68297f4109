"""The pages hold together: links lead somewhere, the menu has every page, and what they name is there."""

from __future__ import annotations

import itertools
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import typer.main

import maskviz
from maskviz.cli.app import app
from maskviz.core.arrays import Content
from maskviz.core.checks.known import TRAPS
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.rules.reasons import Reason
from maskviz.render.palette import REASONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [
    *(ROOT / f"{page}.md" for page in ("README", "CONTRIBUTING", "CHANGELOG")),
    ROOT / "samples" / "README.md",
    *PAGES,
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # of a group
LONGEST_README = 15_000


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The places of a page a link may name, as GitHub names them: -1, -2 ... where a heading is there again."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+?)\s*$", prose(page), re.MULTILINE):
        words = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        numbered = itertools.chain([slug], (f"{slug}-{number}" for number in itertools.count(1)))
        found.append(next(one for one in numbered if one not in found))
    return set(found)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Where a page's links within the repository lead, and to which place there."""
    text = re.sub(r"`[^`\n]*`(?!\])", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = unquote(target).partition("#")
            yield path, anchor


@pytest.mark.parametrize("page", READ, ids=name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    lost = []
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or not target.is_relative_to(ROOT) or (anchor and anchor not in anchors(target)):
            lost.append(f"{path}#{anchor}" if anchor else path)
    assert lost == []


def test_links_are_seen_with_their_anchors(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` (c)\n\n## A b c\n\n[x](y.md#z) ![p](q.png) [w](https://e.org)\n\n```sh\n[no](no.md)\n# no\n```\n"
    )
    assert list(links(page)) == [("y.md", "z"), ("q.png", "")]
    assert anchors(page) == {"a-b-c", "a-b-c-1"}


def test_readme_lists_every_page_once() -> None:
    """Its list of pages is the menu of the site."""
    listed = re.findall(r"\]\((docs/\S+?\.md)\)", (ROOT / "README.md").read_text("utf-8").split("\n## Pages\n")[1])
    assert sorted(listed) == [name(page) for page in PAGES]


def test_the_sites_menu_has_every_page() -> None:
    menu = runpy.run_path(str(DOCS / "conf.py"))["menu"]((ROOT / "README.md").read_text("utf-8"))
    entries = set(re.findall(r"^(?!`|:)(\S+)$", menu, re.MULTILINE))
    assert {name(page).removesuffix(".md") for page in PAGES} < entries
    assert {"CONTRIBUTING", "CHANGELOG", "samples/README", "samples/coverage"} < entries


def test_the_site_opens_html_files_and_has_them() -> None:
    opened = runpy.run_path(str(DOCS / "conf.py"))["opened"]
    assert opened("see [the atlas](docs/atlas.html).") == 'see <a href="docs/atlas.html">the atlas</a>.'
    copied = re.findall(
        r"^\tcp (docs/\S+\.html) build/site/docs/$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    linked = {
        str((page.parent / path).resolve().relative_to(ROOT))
        for page in READ
        for path, _ in links(page)
        if path.endswith(".html")
    }
    assert linked == set(copied) == {"docs/atlas.html"}


def test_every_command_has_its_page() -> None:
    assert {page.stem for page in (DOCS / "commands").glob("*.md")} == set(COMMANDS)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8")) <= LONGEST_README


def typed(page: Path) -> Iterator[list[str]]:
    """The words behind `maskviz` wherever a page shows a command: in a line, or in a block of code."""
    for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^(?:\$ )?(?:.*[|] )?maskviz ([^#|\n]+)", block, re.MULTILINE):
            yield line.split()
    for line in re.findall(r"`maskviz\s+([^`]+)`", prose(page)):
        yield line.split()


@pytest.mark.parametrize("page", READ, ids=name)
def test_options_beside_a_command_are_options_of_that_command(page: Path) -> None:
    unknown = []
    for command, *words in typed(page):
        if command.startswith("-") or command == "COMMAND":
            continue
        known = {option for one in COMMANDS[command].params for option in one.opts} | {"--help"}
        unknown += [f"maskviz {command} {word}" for word in words if re.match(r"--?[a-z]", word) and word not in known]
    assert unknown == []


def test_the_page_of_masks_has_the_marks_of_the_reasons_in_their_order() -> None:
    page = (DOCS / "concepts" / "masks.md").read_text("utf-8")
    rows = re.findall(r"^\| (\S) \| (\w+) \|", page, re.MULTILINE)
    assert rows == [(REASONS[reason].character, reason.word) for reason in Reason]


def test_rules_are_typed_and_said_as_the_page_of_masks_says() -> None:
    page = (DOCS / "concepts" / "masks.md").read_text("utf-8")
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", page, re.MULTILINE)
    assert len(rows) >= 10
    document, keep = Content([[0, 0, 1]], np.int64), Content([[True, True, False]], np.bool_)
    assert [said for said, _ in rows] == [str(parse_rule(typed, document, keep)) for _, typed in rows]


def test_the_page_of_the_python_api_has_every_public_name() -> None:
    page = (DOCS / "python.md").read_text("utf-8")
    assert [one for one in maskviz.__all__ if not re.search(rf"\b{one}\b", page)] == []


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", DOCS / "decisions.md"], ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|js|md|toml))`", page.read_text("utf-8")))
    files = [
        path for folder in ("maskviz", "tests", "tools", "docs", "samples") for path in (ROOT / folder).rglob("*.*")
    ]
    there = {f"/{name(path)}" for path in [*files, *ROOT.glob("*.*")]}
    assert [one for one in sorted(named) if not any(path.endswith(f"/{one}") for path in there)] == []


def test_the_page_of_check_counts_the_mistakes_that_are_known() -> None:
    page = (DOCS / "commands" / "check.md").read_text("utf-8")
    assert re.findall(r"`check` knows (\d+) ways", page) == [str(len(TRAPS))]


def test_the_sites_first_page_has_a_picture_for_each_question() -> None:
    with_pictures = runpy.run_path(str(DOCS / "conf.py"))["with_pictures"]
    readme = (ROOT / "README.md").read_text("utf-8")
    page = with_pictures(readme)
    pictures, own = (re.findall(r"^!\[.+\]\((.+)\)$", text, re.MULTILINE) for text in (page, readme))
    assert len(pictures) - len(own) == page.count(
        "?", page.index("## In pictures"), page.index("## Questions people ask")
    )
    assert [path for path in pictures if not (ROOT / path).exists()] == []
