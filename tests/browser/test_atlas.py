"""The atlas in headless Chromium: offline, searched and filtered, by keyboard, on a phone, dark, printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.opening import DESKTOP, PHONE
from tools.atlas.page import PAGE, data_in
from tools.atlas.pictures import LETTERS, drawn

pytestmark = pytest.mark.slow("drives a browser")

DATA = data_in(PAGE.read_text("utf-8"))
TYPES: list[dict[str, Any]] = DATA["types"]
Width = tuple[int, int]


def opened(browser: Browser, place: str = "", size: Width = DESKTOP, scheme: str = "light") -> Page:
    """The page, offline; asking for anything, or an error, fails."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        offline=True,
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda request: wrong.append(f"request: {request.url}"))
    page.goto(PAGE.as_uri() + place)
    page.wait_for_selector(".type")
    assert wrong == [f"request: {PAGE.as_uri()}"]
    return page


@pytest.fixture
def atlas(browser: Browser) -> Iterator[Page]:
    page = opened(browser)
    yield page
    page.context.close()


def shown(page: Page) -> set[str]:
    """Names of the types in the list."""
    return set(page.eval_on_selector_all(".type", "rows => rows.map((row) => row.id)"))


def named(choose: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {one["name"] for one in TYPES if choose(one)}


def test_every_type_is_listed_and_counted(atlas: Page) -> None:
    assert shown(atlas) == {one["name"] for one in TYPES}
    expect(atlas.locator("#count")).to_have_text(f"{len(TYPES)} of {len(TYPES)} types")


def test_a_search_keeps_the_types_that_have_all_its_words(atlas: Page) -> None:
    atlas.fill("#search", "window(4096)")
    assert shown(atlas) == named(
        lambda one: any("window(4096)" in kind["rule"] for kind in [*one["kinds"], *one["more"]])
    )
    assert {"mistral", "gemma2"} <= shown(atlas)
    atlas.fill("#search", "MistralFor")
    assert "mistral" in shown(atlas)
    assert all("mistralfor" in one["class"].lower() for one in TYPES if one["name"] in shown(atlas))
    atlas.fill("#search", "state space gemma")
    assert shown(atlas) == set()
    expect(atlas.locator("#list")).to_contain_text("No type is like that")
    atlas.click("#clear")
    expect(atlas.locator(".type")).to_have_count(len(TYPES))


@pytest.mark.parametrize("family", sorted({one["family"] for one in TYPES} - {""}))
def test_a_family_keeps_its_types(atlas: Page, family: str) -> None:
    atlas.select_option("#family", family)
    assert shown(atlas) == named(lambda one: one["family"] == family)


@pytest.mark.parametrize("trait", sorted({trait for one in TYPES for trait in one["traits"]}))
def test_a_mask_keeps_the_types_that_have_it(atlas: Page, trait: str) -> None:
    atlas.select_option("#trait", trait)
    assert shown(atlas) == named(lambda one: trait in one["traits"])


BROKEN = ("moved", "seen")
OUTCOMES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "left": lambda one: one["left"].get("verdict") in BROKEN,
    "right": lambda one: one["right"].get("verdict") in BROKEN,
    "positions": lambda one: one["left"].get("verdict") == "positions",
    "packed": lambda one: one["packed"].get("verdict") in BROKEN,
    "flash": lambda one: any(group["added"] or group["lost"] for group in one["flash"].get("groups", ())),
    "sinks": lambda one: any("sinks are dropped" in group["words"] for group in one["flash"].get("groups", ())),
    "refused": lambda one: "why" in one["flash"],
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_keeps_the_types_it_was_measured_of(atlas: Page, outcome: str) -> None:
    atlas.select_option("#breaks", outcome)
    assert shown(atlas) == named(OUTCOMES[outcome])
    words = atlas.locator(f"#breaks option[value={outcome}]").inner_text()
    assert words.endswith(f"({len(shown(atlas))})")


def test_what_nothing_breaks_is_broken_by_no_other_filter(atlas: Page) -> None:
    atlas.select_option("#breaks", "good")
    assert shown(atlas)
    assert not shown(atlas) & set().union(*(named(choose) for choose in OUTCOMES.values()))


def test_filters_add_up(atlas: Page) -> None:
    atlas.select_option("#family", "decoder")
    atlas.select_option("#trait", "window")
    atlas.fill("#search", "gemma")
    assert shown(atlas) == named(
        lambda one: one["family"] == "decoder" and "window" in one["traits"] and "gemma" in one["name"]
    )


def test_types_stand_under_their_look_or_in_the_order_of_their_names(atlas: Page) -> None:
    groups = atlas.eval_on_selector_all(
        "#list section",
        "all => all.map((one) => [one.querySelector('h2').firstChild.textContent, "
        "[...one.querySelectorAll('.type')].map((row) => row.id)])",
    )
    assert {name: look for look, names in groups for name in names} == {one["name"]: one["look"] for one in TYPES}
    atlas.select_option("#order", "name")
    names = atlas.eval_on_selector_all(".type", "rows => rows.map((row) => row.id)")
    assert names == sorted(names)


def test_it_is_used_by_keyboard_alone(atlas: Page) -> None:
    atlas.keyboard.press("/")
    atlas.keyboard.type("gemma2")
    assert "gemma2" in shown(atlas)
    for _ in range(30):
        atlas.keyboard.press("Tab")
        if atlas.evaluate("document.activeElement.parentElement.id") == "gemma2":
            break
    atlas.keyboard.press("Enter")
    expect(atlas.locator("#gemma2 .body")).to_contain_text("causal ∧ window(4096)")
    atlas.focus("#search")
    atlas.keyboard.press("Escape")
    assert len(shown(atlas)) == len(TYPES)


def test_a_link_opens_its_type_whatever_is_filtered(browser: Browser) -> None:
    page = opened(browser, "#mistral")
    expect(page.locator("#mistral .body")).to_contain_text('{"model_type":"mistral"}')
    expect(page.locator("#mistral > summary")).to_be_in_viewport()
    page.select_option("#family", "encoder")
    page.evaluate("location.hash = '#gpt2'")
    expect(page.locator("#gpt2 .body")).to_be_visible()
    expect(page.locator("#gpt2 .body")).to_contain_text("unless position_ids count the real tokens")
    page.context.close()


def test_pictures_are_drawn_as_the_data_have_them(atlas: Page) -> None:
    fills = {cell["fill"]: letter for letter, cell in DATA["cells"].items()}
    codes = {letter: code for code, letter in LETTERS.items()}
    for number, text in enumerate(DATA["pictures"]):
        wanted = drawn(text)
        paths = atlas.eval_on_selector_all(
            f"#mask-{number} path", "all => all.map((one) => [one.getAttribute('fill'), one.getAttribute('d')])"
        )
        cells = np.full(wanted.shape, 255, np.uint8)
        for fill, path in paths:
            for part in path.split("M")[1:]:
                place, _, rest = part.partition("h")
                column, row = map(int, place.split())
                cells[row, column : column + int(rest.partition("v")[0])] = codes[fills[fill]]
        np.testing.assert_array_equal(cells, wanted)


def test_every_picture_says_what_it_shows(atlas: Page) -> None:
    labels = atlas.eval_on_selector_all("svg.mask", "all => all.map((one) => one.getAttribute('aria-label'))")
    assert len(labels) > len(TYPES) / 2
    assert all(":" in label and "cells visible" in label for label in labels)


def test_a_type_says_who_looks_the_same(atlas: Page) -> None:
    atlas.locator("#gemma2 > summary").click()
    same = atlas.locator("#gemma2 .alike > p:first-of-type a").all_inner_texts()
    own = DATA["sets"][next(one["alike"] for one in TYPES if one["name"] == "gemma2")]["types"]
    assert same == [name for name in own if name != "gemma2"]
    atlas.locator("#gemma2 .alike > p:first-of-type a").first.click()
    expect(atlas.locator(f"#{same[0]} .body")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_is_wider_than_the_screen(browser: Browser, size: Width, scheme: str) -> None:
    page = opened(browser, "#longformer", size, scheme)
    for name in ("gemma3n", "llama4_text", "t5", "bros"):
        page.evaluate("name => { document.getElementById(name).open = true; }", name)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    page.context.close()


def test_a_print_leaves_out_what_is_pressed(atlas: Page) -> None:
    atlas.emulate_media(media="print")
    expect(atlas.locator("#controls")).to_be_hidden()
    expect(atlas.locator("#theme")).to_be_hidden()
    expect(atlas.locator("#mistral")).to_be_visible()
