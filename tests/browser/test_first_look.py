"""What the HTML report shows first, and what can be done with it: roles, lines, files, the keys."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

import maskviz
from maskviz.analyse.standing_out import head_roles, standing_out
from maskviz.api.shown import Trace
from maskviz.core.rules.kinds import Causal
from maskviz.core.run import trace as core
from maskviz.core.words import Role
from maskviz.render.html import html_bytes
from maskviz.view.choosing import Choice
from maskviz.view.pictures import why_words
from maskviz.view.report import Beside, report_of
from tests.browser.opening import DESKTOP, PHONE, Opened, opened, write
from tests.reports import batch_of, mask_of, trace_of

pytestmark = pytest.mark.slow("drives a browser")

TEXTS = ("the cat saw a dog and the cat saw a bird", "a dog")


@pytest.fixture(scope="module")
def run() -> Trace:
    """Two texts through demo:bert, the second of them padded."""
    return maskviz.trace("demo:bert", list(TEXTS))


@pytest.fixture(scope="module")
def path(run: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.save(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def report(browser: Browser, path: Path) -> Iterator[Opened]:
    one = opened(browser, path.as_uri())
    yield one
    assert one.wrong == []
    one.page.close()


def pattern_of(trace: core.Trace, layer: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    pattern = trace.calls[layer].pattern
    assert pattern is not None
    return pattern


def test_it_opens_at_the_head_that_stands_out_most(report: Opened, run: Trace) -> None:
    first = standing_out(run, 0)[0]
    assert (first.layer, first.head) != (0, 0), "else this shows nothing"
    assert report.text("#map-title") == f"Head {first.layer}.{first.head}, text 1 of 2"
    assert report.text("#map-caption").startswith(why_words(first))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_at_the_largest_weight_that_says_something_and_says_it(
    browser: Browser, path: Path, run: Trace, size: tuple[int, int]
) -> None:
    first = standing_out(run, 0)[0]
    weights = pattern_of(run, first.layer)[0, first.head]
    roles = run.batch.roles[0]
    most = max(
        float(weights[query, key])
        for query in range(run.batch.length)
        for key in range(1, run.batch.length)
        if query != key and roles[query] is Role.TEXT and roles[key] is Role.TEXT
    )
    one = opened(browser, path.as_uri(), size)
    weight, error = map(float, one.text("#cell strong").split(" ± "))
    assert abs(weight - most) <= error + 1e-6
    for part in ("#cell", "#why li"):
        box = one.page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < size[1], f"{part} is not on the first screen"
    one.page.close()


def test_a_head_or_a_layer_that_was_named_is_what_it_opens_at(browser: Browser, run: Trace, tmp_path: Path) -> None:
    one = opened(browser, run.save(tmp_path / "head.html", head=2).as_uri())
    assert one.text("#map-title").startswith("Head 0.2")
    one.page.close()
    two = opened(browser, run.save(tmp_path / "layer.html", layer=2).as_uri())
    assert two.text("#map-title").startswith("Head 2.0")
    two.page.close()


def test_heads_that_stand_out_are_buttons_that_show_them(report: Opened, run: Trace) -> None:
    expected = [f"{one.layer}.{one.head} {why_words(one)}" for one in standing_out(run, 0)]
    buttons = report.page.locator("#standing button")
    assert buttons.all_text_contents() == expected
    last = standing_out(run, 0)[-1]
    before = report.text("#cell")
    buttons.last.click()
    expect(report.page.locator("#map-title")).to_contain_text(f"Head {last.layer}.{last.head}")
    assert report.text("#cell") != before, "the cell is one of that head"
    assert buttons.last.get_attribute("aria-pressed") == "true"


def test_small_maps_say_the_roles_of_their_heads(report: Opened, run: Trace) -> None:
    for (call, head), roles in head_roles(run, 0).items():
        tile = report.page.locator(f'button.tile[data-call="{run.calls.index(call)}"][data-head="{head}"]')
        name = tile.get_attribute("aria-label") or ""
        for role in roles:
            assert f"{role.role} {role.score:.2f}" in name
        said = tile.locator(".role").text_content() or ""
        assert any(f"{role.score:.2f}" in said for role in roles) or not roles
    first = standing_out(run, 0)[0]
    tile = report.page.locator(f'button.tile[data-call="{first.layer}"][data-head="{first.head}"]')
    assert "stands out" in (tile.get_attribute("aria-label") or "")
    assert "over half of the attention on the token" in (tile.get_attribute("title") or "")


def test_a_role_that_is_chosen_lets_other_heads_step_back(report: Opened, run: Trace) -> None:
    having = sum(any(one.role == "previous token" for one in roles) for roles in head_roles(run, 0).values())
    assert 0 < having < len(head_roles(run, 0))
    report.page.select_option("#choose-role", "previous token")
    assert report.page.locator("button.tile:not(.dimmed)").count() == having
    report.page.select_option("#choose-role", "")
    assert report.page.locator("button.tile.dimmed").count() == 0


def lines_said(report: Opened) -> str:
    return report.page.locator("#line-canvas").get_attribute("aria-label") or ""


def test_lines_are_drawn_for_what_is_seen_and_of_one_token_where_somebody_looks(report: Opened, run: Trace) -> None:
    first = standing_out(run, 0)[0]
    weights = pattern_of(run, first.layer)[0, first.head]
    report.page.keyboard.press("v")
    expect(report.page.locator("#lines-frame")).to_be_visible()
    assert not report.page.locator("#map").is_visible()
    clear = np.abs(weights / weights.max() - 0.02) > 0.005
    strong = weights > 0.02 * weights.max()
    assert int((strong & clear).sum()) <= int(lines_said(report).split()[0]) <= int((strong | ~clear).sum())
    report.page.hover("#line-queries li:nth-child(4)")
    assert lines_said(report).endswith("of query 3 ‘saw’")
    assert int(lines_said(report).split()[0]) <= int((strong | ~clear)[3].sum())
    assert report.text("#cell").startswith(f"Query 3 ‘saw’ may attend to key {int(weights[3].argmax())} ")
    report.page.hover("#line-keys li:nth-child(3)")
    assert lines_said(report).endswith("of key 2 ‘cat’")
    report.page.hover("#map-title")
    assert " of " not in lines_said(report)


def test_lines_are_walked_with_the_keyboard(report: Opened) -> None:
    report.page.keyboard.press("v")
    report.page.focus("#line-queries li")
    report.page.keyboard.press("ArrowDown")
    report.page.keyboard.press("ArrowDown")
    assert lines_said(report).endswith("of query 2 ‘cat’")
    report.page.keyboard.press("ArrowRight")
    assert lines_said(report).endswith("of key 2 ‘cat’")
    assert report.page.locator("#line-keys [aria-selected=true]").count() == 1
    report.page.keyboard.press("End")
    assert "of key 12" in lines_said(report)
    report.page.keyboard.press("Escape")
    assert " of " not in lines_said(report)
    report.page.keyboard.press("v")
    expect(report.page.locator("#map")).to_be_visible()


def test_blocked_pairs_have_no_line_and_padding_is_grey(report: Opened) -> None:
    report.page.keyboard.press("v")
    report.page.select_option("#choose-text", "1")
    expect(report.page.locator("#map-title")).to_contain_text("text 2 of 2")
    padding = report.page.locator("#line-keys li.padding")
    assert padding.count() == 9
    padding.last.hover()
    assert lines_said(report).startswith("0 lines of key")
    assert report.page.locator("#line-queries li.padding").count() == 9


def test_tokens_beside_lines_that_go_on_below_fade_there(browser: Browser, tmp_path: Path) -> None:
    one = opened(browser, write(tmp_path / "long.html", trace_of(mask_of(Causal(), 1, 60, 60))).as_uri())
    one.page.keyboard.press("v")
    expect(one.page.locator("#lines")).to_have_class("scroll more-below")
    one.page.locator("#lines").evaluate("(one) => { one.scrollTop = 1e6; }")
    expect(one.page.locator("#lines")).to_have_class("scroll")
    assert one.wrong == []
    one.page.close()


def test_the_mean_of_a_layers_heads_is_the_mean_of_their_weights(report: Opened, run: Trace) -> None:
    report.page.select_option("#choose-layer", "2")
    report.page.select_option("#choose-head", "-1")
    expect(report.page.locator("#map-title")).to_have_text("Mean of the heads of layer 2, text 1 of 2")
    mean = pattern_of(run, 2)[0].mean(axis=0)
    report.page.click("#row summary")
    cells = report.page.locator("#row tbody td:nth-child(3)").all_text_contents()
    query = int(report.text("#cell").split()[1])
    parts = [[float(one) for one in cell.split(" ± ")] for cell in cells]
    assert all(abs(weight - mean[query, key]) <= error + 1e-6 for key, (weight, error) in enumerate(parts))
    report.page.keyboard.press("v")
    assert int(lines_said(report).split()[0]) > 10


def test_numbers_are_saved_with_their_tokens(browser: Browser, tmp_path: Path) -> None:
    trace = trace_of(mask_of(Causal(), 1, 8, 8), batch=batch_of(1, 8, 'a "b", c\n'))
    one = opened(browser, write(tmp_path / "odd.html", trace).as_uri())
    with one.page.expect_download() as download:
        one.page.click("#save-numbers")
    assert download.value.suggested_filename == "head-0.0.csv"
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"), newline="")))
    assert rows[0] == ["query \\ key", *(f'{place} a "b", c\n' for place in range(8))]
    weights = pattern_of(trace, 0)[0, 0]
    for query, row in enumerate(rows[1:]):
        assert row[0] == f'{query} a "b", c\n'
        for key, cell in enumerate(row[1:]):
            assert (cell == "") == (key > query), "what is blocked is empty"
            assert not cell or abs(float(cell) - weights[query, key]) < 0.004
    one.page.keyboard.press("m")
    with one.page.expect_download() as download:
        one.page.click("#save-numbers")
    cells = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"), newline="")))
    assert [row[1:] for row in cells[1:]] == np.tri(8, dtype=int).astype(str).tolist()
    one.page.close()


@pytest.mark.parametrize("view", ["map", "lines"])
def test_the_picture_that_is_saved_is_the_one_that_is_seen(report: Opened, view: str) -> None:
    if view == "lines":
        report.page.keyboard.press("v")
    with report.page.expect_download() as download:
        report.page.click("#save-picture")
    assert download.value.suggested_filename.endswith("text-1-of-2.png")
    with Image.open(download.value.path()) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.int64).reshape(-1, 3)
        assert min(picture.size) > 280
    assert (pixels == 255).all(axis=1).any()
    ink = (253, 231, 37) if view == "map" else (31, 95, 168)  # the end of the scale, and of the lines
    assert np.abs(pixels - ink).sum(axis=1).min() < 40
    assert report.page.locator("#cell").text_content(), "the mark is where it was"


def test_the_explanation_of_a_cell_is_copied(report: Opened) -> None:
    report.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    report.page.click("#copy")
    expect(report.page.locator("#copied")).to_have_text("copied")
    said = _pasted(report)
    assert report.text("#cell") in said
    assert f"- {report.text('#why li')}" in said


@pytest.mark.parametrize("answer", ["Promise.reject(new Error('closed'))", "new Promise(() => {})"])
def test_where_a_clipboard_refuses_or_never_answers_a_page_copies_the_older_way(report: Opened, answer: str) -> None:
    report.page.evaluate(f"() => {{ navigator.clipboard.writeText = () => {answer}; }}")
    report.page.click("#copy")
    expect(report.page.locator("#copied")).to_have_text("copied")
    assert report.text("#cell") in _pasted(report)


def _pasted(report: Opened) -> str:
    """What the clipboard holds, as somebody pastes it: without asking for leave to read."""
    report.page.evaluate(
        "() => document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))"
    )
    report.page.focus("#pasted")
    report.page.keyboard.press("Control+V")
    return report.page.input_value("#pasted")


def test_small_maps_are_large_enough_or_are_not_there(browser: Browser, tmp_path: Path) -> None:
    for tokens, shown in ((1, True), (8, True), (33, True), (150, True), (200, False)):
        trace = trace_of(mask_of(Causal(), 1, tokens, tokens), heads=12)
        one = opened(browser, write(tmp_path / f"{tokens}.html", trace).as_uri())
        one.page.wait_for_timeout(300)
        sides = one.page.eval_on_selector_all(".tile canvas", "all => all.map((one) => one.clientWidth)")
        assert (len(sides) == 24) == shown, tokens
        assert all(side >= max(48, tokens) for side in sides), (tokens, sides)
        assert one.page.locator("button.tile").count() == 24, "heads can be chosen still"
        assert one.page.evaluate("document.documentElement.scrollWidth") <= DESKTOP[0]
        one.page.close()


def test_a_grid_of_many_heads_scrolls_with_its_names_in_sight_and_says_so(browser: Browser, tmp_path: Path) -> None:
    trace = trace_of(mask_of(Causal(), 1, 8, 8), layers=30, heads=9)
    one = opened(browser, write(tmp_path / "many.html", trace).as_uri(), PHONE)
    one.page.wait_for_timeout(300)
    tiles = one.page.locator("#tiles")
    assert one.text("#grid-hint") == "The grid goes on: scroll sideways → for more heads, down ↓ for more layers."
    assert {"more-right", "more-below"} <= set((tiles.get_attribute("class") or "").split())
    assert one.page.evaluate("getComputedStyle(document.getElementById('tiles')).maskImage") != "none"
    tiles.evaluate("(one) => { one.scrollLeft = 1e6; one.scrollTop = 1e6; }")
    expect(tiles).to_have_class("scroll")
    box, name = tiles.bounding_box(), one.page.locator("tbody th").last.bounding_box()
    number = one.page.locator(".heads thead th").last.bounding_box()
    assert box is not None
    assert name is not None
    assert number is not None
    assert abs(name["x"] - box["x"]) < 4
    assert abs(number["y"] - box["y"]) < 4
    assert one.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    one.page.close()


@pytest.mark.parametrize("view", ["map", "lines"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser: Browser, path: Path, view: str, scheme: str) -> None:
    one = opened(browser, path.as_uri(), PHONE, scheme)
    if view == "lines":
        one.page.keyboard.press("v")
        expect(one.page.locator("#lines-frame")).to_be_visible()
    assert one.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert one.wrong == []
    one.page.close()


def test_the_keys_open_in_place_and_give_the_focus_back(report: Opened) -> None:
    page = report.page
    page.focus("#map")
    at = page.evaluate("[scrollX, scrollY]")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    box = page.locator("#help").bounding_box()
    assert box is not None
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= DESKTOP[1]
    title = report.text("#map-title")
    page.keyboard.press("]")
    assert report.text("#map-title") == title, "behind the list nothing moves"
    page.keyboard.press("Escape")
    expect(page.locator("#help")).not_to_be_visible()
    assert page.evaluate("document.activeElement.id") == "map"
    assert page.evaluate("[scrollX, scrollY]") == at
    page.click("#help-button")
    page.keyboard.press("?")
    expect(page.locator("#help")).not_to_be_visible()
    assert page.evaluate("document.activeElement.id") == "help-button"


def test_pieces_of_a_right_to_left_script_are_in_its_order(browser: Browser, tmp_path: Path) -> None:
    trace = trace_of(batch=batch_of(1, 8, "##ר"))
    one = opened(browser, write(tmp_path / "hebrew.html", trace).as_uri())
    one.page.keyboard.press("v")
    order = """(piece) => { const node = piece.firstChild, at = (from) => { const range = document.createRange();
      range.setStart(node, from); range.setEnd(node, from + 1); return range.getBoundingClientRect().left; };
      return at(2) < at(0); }"""
    for place in ("#line-queries bdi", "#line-keys bdi", "ol.strip bdi", "#cell bdi"):
        if place != "#cell bdi":
            assert one.page.locator(place).first.evaluate(order), place
    rtl = one.page.evaluate(
        """async () => { const said = [], fill = CanvasRenderingContext2D.prototype.fillText;
          CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
            if (text.includes("ר")) said.push(this.direction); return fill.call(this, text, ...rest); };
          document.dispatchEvent(new KeyboardEvent("keydown", {key: "v", bubbles: true}));
          await new Promise((done) => setTimeout(done, 200)); return said; }"""
    )
    assert rtl
    assert set(rtl) == {"rtl"}
    one.page.close()


def test_a_what_if_opens_too(browser: Browser, tmp_path: Path) -> None:
    path = maskviz.trace("demo:gpt", "the cat saw the cat", head_mask="1:*").save(tmp_path / "what-if.html")
    one = opened(browser, path.as_uri())
    assert one.page.locator("#standing button").count() >= 2
    one.page.keyboard.press("v")
    one.page.keyboard.press("b")
    expect(one.page.locator("#lines-frame")).to_be_visible()
    assert one.wrong == []
    one.page.close()


def test_roles_of_a_report_without_them_leave_no_trace(browser: Browser, tmp_path: Path) -> None:
    trace = trace_of()
    path = tmp_path / "plain.html"
    path.write_bytes(html_bytes(report_of(trace, Choice(), beside=Beside())))
    one = opened(browser, path.as_uri())
    assert not one.page.locator("#standing").is_visible()
    assert not one.page.locator("#role-filter").is_visible()
    assert one.text("#map-title") == "Head 0.0"
    one.page.close()


def test_a_mask_alone_has_no_lines(browser: Browser, tmp_path: Path) -> None:
    trace = trace_of()
    bare = replace(trace, calls=tuple(replace(call, pattern=None) for call in trace.calls))
    one = opened(browser, write(tmp_path / "bare.html", bare).as_uri())
    one.page.keyboard.press("v")
    assert one.page.locator("#map").is_visible()
    assert one.page.locator("#choose-as-lines").count() == 0
    one.page.close()
