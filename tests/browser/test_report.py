"""The HTML report in headless Chromium: from disk and from localhost, by mouse and by keyboard."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from maskviz.analyse.why import stretches_of
from maskviz.api.shown import load_trace
from maskviz.core.panels.page import Note, Tone
from maskviz.core.rules.algebra import AnyOf, Combination, Rule
from maskviz.core.rules.kinds import Causal, Repositioned, UserMask, Window
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Mask, Trace
from maskviz.store.archive import read_npz
from maskviz.view.show import WhatIf
from maskviz.view.why.page import stretch_lines
from maskviz.view.why.report_rules import clause_of
from tests.analyse.test_why import any_rules
from tests.browser.opening import DESKTOP, PHONE, Opened, opened, write
from tests.reports import batch_of, mask_of, trace_of

pytestmark = pytest.mark.slow("drives a browser")


@pytest.fixture
def report(browser: Browser, what_if: Path) -> Iterator[Opened]:
    one = opened(browser, what_if.as_uri())
    yield one
    assert one.wrong == []
    one.page.close()


@pytest.fixture(scope="module")
def what_if(saved_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a what-if of demo:bert on two texts, the first of them padded."""
    saved = read_npz(saved_run)
    assert saved.before is not None
    assert saved.change is not None
    change = WhatIf(saved.before, saved.change, str)
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write(path, saved.trace, change, (Note("no findings"),))


def test_pointing_at_a_cell_says_what_the_model_computed(report: Opened, saved_run: Path) -> None:
    trace = read_npz(saved_run).trace
    pattern = trace.calls[0].pattern
    assert pattern is not None
    row = int(trace.batch.keep.sum(axis=1).argmax())
    report.page.focus("#map")
    report.page.keyboard.press("Home")
    for _ in range(20):
        report.page.keyboard.press("ArrowUp")
    report.page.keyboard.press("ArrowDown")
    report.page.keyboard.press("ArrowRight")
    said = report.text("#cell")
    assert "Query 1" in said
    assert "key 1" in said
    weight, error = (float(part) for part in report.text("#cell strong").split(" ± "))
    assert abs(weight - pattern[row, 0, 1, 1]) <= error + 1e-6


def test_hovering_the_map_and_a_token_marks_the_cell_below(report: Opened) -> None:
    box = report.page.locator("#map").bounding_box()
    assert box is not None
    before = report.text("#cell")
    report.page.mouse.move(box["x"] + box["width"] - 30, box["y"] + box["height"] * 0.4)
    expect(report.page.locator("#cell")).not_to_have_text(before)
    report.page.hover("ol.strip li:nth-child(3)")
    assert "Query 2" in report.text("#cell")
    assert report.page.locator("ol.strip li:nth-child(3)").get_attribute("class") == "token text is-query is-key"
    numbers = report.page.locator("ol.strip .to").all_text_contents()
    assert any(number.startswith(".") for number in numbers)


def test_keys_switch_text_layer_head_and_what_is_shown(report: Opened) -> None:
    page = report.page
    assert report.text("#map-title") == "Head 0.0, text 2 of 2"
    for key, title in (
        ("]", "Head 1.0, text 2 of 2"),
        (".", "Head 1.1, text 2 of 2"),
        ("[", "Head 0.1, text 2 of 2"),
        ("t", "Head 0.1, text 1 of 2"),
        ("m", "Mask of layer 0, text 1 of 2"),
        ("m", "Head 0.1, text 1 of 2"),
        (",", "Head 0.0, text 1 of 2"),
    ):
        page.keyboard.press(key)
        expect(page.locator("#map-title")).to_have_text(title)
    assert page.get_by_role("button", name="after").get_attribute("aria-pressed") == "true"
    page.keyboard.press("b")
    page.wait_for_selector("#choose-head-mask-before[aria-pressed=true]")


def test_before_the_head_mask_the_page_shows_the_plain_run(report: Opened, saved_run: Path) -> None:
    saved = read_npz(saved_run)
    assert saved.before is not None
    row = int(saved.trace.batch.keep.sum(axis=1).argmax())
    after, before = (run.calls[1].pattern for run in (saved.trace, saved.before))
    assert after is not None
    assert before is not None
    report.page.keyboard.press("]")
    expect(report.page.locator("#map-title")).to_contain_text("Head 1.0")
    report.page.keyboard.press("b")
    report.page.wait_for_selector("#choose-head-mask-before[aria-pressed=true]")
    report.page.click("#row summary")
    rows = report.page.locator("#row tbody tr")
    expect(rows).to_have_count(before.shape[3])
    cells = [text.split(" ± ") for text in rows.locator("td:nth-child(3)").all_text_contents()]
    query = int(report.text("#cell").split()[1])
    off = [abs(float(weight) - before[row, 0, query, key]) - float(error) for key, (weight, error) in enumerate(cells)]
    assert max(off) <= 1e-6
    moved = np.abs(before[row, 0, query] - after[row, 0, query])
    assert moved.max() > 0.01, "else this shows nothing"


def test_the_batch_switches_and_padding_is_said_to_be_why(report: Opened) -> None:
    report.page.select_option("#choose-text", "0")
    expect(report.page.locator("#map-title")).to_contain_text("text 1 of 2")
    report.page.focus("#map")
    for key in ("Home", "End"):
        report.page.keyboard.press(key)
    assert "cannot attend" in report.text("#cell")
    assert report.text("#cell strong") == "padding"
    assert "is padding" in report.text("#why")
    assert "the attention mask of token" in report.text("#why")


def test_the_row_of_a_query_is_a_table_with_every_key(report: Opened, saved_run: Path) -> None:
    report.page.click("#row summary")
    report.page.wait_for_selector("#row tbody tr")
    keys = read_npz(saved_run).trace.batch.length
    assert report.page.locator("#row tbody tr").count() == keys
    assert report.page.locator("#row thead th").all_text_contents() == ["key", "token", "weight", "blocked"]
    assert report.page.locator("#row tr[aria-current=true]").count() == 1


def test_choosing_a_small_map_shows_it_large_and_silenced_heads_are_marked(report: Opened) -> None:
    report.page.click('button.tile[data-call="2"][data-head="3"]')
    expect(report.page.locator("#map-title")).to_contain_text("Head 2.3")
    pressed = report.page.locator('button.tile[aria-pressed="true"]')
    assert pressed.get_attribute("aria-label") == "layer 2, head 3"
    assert report.page.locator("button.tile.gated").get_attribute("aria-label") == "layer 0, head 1, silenced"


def test_what_the_check_found_and_what_the_head_mask_changed_are_on_the_page(report: Opened) -> None:
    assert "no findings" in report.text("#findings")
    assert "silenced 1 head" in report.text("#changes")
    assert report.page.locator("#changes table").count() >= 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_scrolls_sideways_and_the_theme_is_the_systems(
    browser: Browser, what_if: Path, size: tuple[int, int], scheme: str
) -> None:
    one = opened(browser, what_if.as_uri(), size, scheme)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert one.page.evaluate("document.documentElement.dataset.theme") == scheme
    one.page.click("#theme")
    assert one.page.evaluate("document.documentElement.dataset.theme") != scheme
    assert one.page.evaluate(CONTRAST) >= 4.5
    one.page.click("#theme")
    assert one.page.evaluate(CONTRAST) >= 4.5
    assert one.wrong == []
    one.page.close()


def test_no_number_is_broken_into_lines_on_a_phone(browser: Browser, what_if: Path) -> None:
    one = opened(browser, what_if.as_uri(), PHONE)
    lines = one.page.eval_on_selector_all(
        "#changes td.number bdi", "all => all.map((one) => [one.textContent, one.getClientRects().length])"
    )
    assert len(lines) >= 3
    assert [text for text, count in lines if count != 1] == []
    one.page.close()


def test_on_paper_it_is_light_and_nothing_is_folded_away(browser: Browser, tmp_path: Path) -> None:
    found = (Note("P1 error", Tone.WARNING, ("what goes wrong", "a fix")),)
    one = opened(browser, write(tmp_path / "dark.html", trace_of(), findings=found).as_uri(), DESKTOP, "dark")
    assert not one.page.get_by_text("a fix").is_visible()
    one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    one.page.emulate_media(media="print")
    assert one.page.evaluate("document.documentElement.dataset.theme") == "light"
    assert one.page.get_by_text("a fix").is_visible()
    assert not one.page.locator("#controls").is_visible()
    one.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert one.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert one.wrong == []
    one.page.close()


def test_a_blocked_cell_and_a_zero_look_different(browser: Browser, tmp_path: Path) -> None:
    pattern = np.zeros((1, 3, 8, 8), np.float32)
    pattern[..., 0] = 1.0
    trace = trace_of()
    one = opened(
        browser,
        write(
            tmp_path / "zeros.html", replace(trace, calls=tuple(replace(call, pattern=pattern) for call in trace.calls))
        ).as_uri(),
    )
    colours = one.page.evaluate(
        """() => { const map = document.getElementById("map"), context = map.getContext("2d");
          const at = (right, up) => [...context.getImageData(map.width - right, map.height - up, 1, 1).data].join();
          return [at(60, 60), at(60, map.height - 120)]; }"""
    )
    assert colours[0] != colours[1], "key 6 of query 6 is a zero, key 6 of query 0 is blocked"
    one.page.close()


# The least contrast of text and paper, WCAG 2.2 section 1.4.3, over all visible elements that hold text of their own.
CONTRAST = """() => {
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (colour) => { probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => { for (let one = element; one; one = one.parentElement) {
    const colour = rgb(getComputedStyle(one).backgroundColor); if (colour[3] === 255) return colour; } };
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const shown = [...document.body.querySelectorAll("*")].filter((one) => own(one) && one.checkVisibility()
    && !["SCRIPT", "STYLE", "OPTION"].includes(one.tagName));
  return Math.min(...shown.map((one) => {
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}"""


def test_it_works_from_localhost(browser: Browser, what_if: Path) -> None:
    handler = functools.partial(Quiet, directory=str(what_if.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        one = opened(browser, f"http://127.0.0.1:{server.server_port}/{what_if.name}")
        assert one.text("#map-title").startswith("Head 0.0")
        assert one.wrong == []
        one.page.close()
        server.shutdown()


def test_it_works_in_the_frame_a_notebook_shows(browser: Browser, saved_run: Path) -> None:
    """What Jupyter puts into its page, in a page of its own; keys reach the frame when it is clicked."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("request", lambda request: wrong.append(f"request: {request.url}"))
    page.set_content(load_trace(saved_run)._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    frame.locator("#map-title", has_text="Head 1.3").click()
    page.keyboard.press("]")
    frame.locator("#map-title", has_text="Head 2.3").wait_for()
    assert wrong == []
    page.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that prints nothing."""

    def log_message(self, format: str, *args: object) -> None:
        return


def bare(trace: Trace) -> Trace:
    return replace(trace, calls=tuple(replace(call, pattern=None) for call in trace.calls))


def differing() -> Trace:
    """A mask that is another one for each head."""
    visible = np.ones((1, 3, 6, 6), np.bool_)
    visible[0, 1] = np.tri(6, dtype=np.bool_)
    return trace_of(Mask(visible, np.where(visible, 0, int(Reason.FUTURE)).astype(np.uint8), Causal()))


ODD = {
    "masks alone": bare(trace_of()),
    "one token": trace_of(mask_of(Causal(), 1, 1, 1)),
    "no attention": replace(trace_of(), calls=()),
    "empty tokens": trace_of(batch=batch_of(1, 8, "")),
    "hostile tokens": trace_of(batch=batch_of(1, 8, "</script><img src=x onerror=alert(1)>\u202e你好\u0645\u0631")),
    "behind a cache": trace_of(mask_of(Causal() & Window(3), 1, 3, 9, offset=6)),
    "a mask per head": differing(),
    "many layers": bare(trace_of(layers=126, heads=128, mask=mask_of(Causal(), 1, 5, 5))),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_runs_open_without_an_error(browser: Browser, tmp_path: Path, name: str) -> None:
    trace = ODD[name]
    path = write(tmp_path / "odd.html", trace)
    one = opened(browser, path.as_uri(), PHONE)
    if trace.calls:
        assert "attend" in one.text("#cell")
        one.page.keyboard.press(".")
        one.page.focus("#map")
        one.page.keyboard.press("ArrowLeft")
    else:
        assert "no attention to show" in one.text("#notes")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert one.wrong == []
    one.page.close()


def test_a_query_behind_a_cache_keeps_its_number(browser: Browser, tmp_path: Path) -> None:
    one = opened(browser, write(tmp_path / "past.html", ODD["behind a cache"]).as_uri())
    one.page.focus("#map")
    one.page.keyboard.press("Home")
    assert one.text("#cell").startswith("Query 8 ‘word’ cannot attend to key 0 ‘word’: window")
    assert "query 8 − key 0 = 8 ≥ window 3" in one.text("#why")
    one.page.close()


def known(rule: Rule) -> bool:
    """Whether there is at most one mask of a user's own, not among alternatives, as in every run: its reason tells what
    it does to a cell."""
    users = [leaf for leaf in rule.leaves() if isinstance(leaf, UserMask)]
    return len(users) < 2 and (not users or not _has_alternatives(rule))


def _has_alternatives(rule: Rule) -> bool:
    parts = rule.parts if isinstance(rule, Combination) else (rule.rule,) if isinstance(rule, Repositioned) else ()
    return isinstance(rule, AnyOf) or any(map(_has_alternatives, parts))


@pytest.fixture(scope="module")
def asked(browser: Browser) -> Iterator[Page]:
    """A page that knows why.js and nothing else."""
    source = (files("maskviz.render") / "report" / "why.js").read_text("utf-8")
    reasons = [{"bit": int(one), "word": one.word} for one in Reason]
    page = browser.new_page()
    page.evaluate(
        """([source, reasons]) => {
          window.explained = new Function("report", `${source}; return explained;`)({look: {reasons}});
        }""",
        [source, reasons],
    )
    yield page
    page.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_rules().filter(known), st.integers(0, 3))
def test_the_page_says_why_in_the_words_of_explain(asked: Page, rule: Rule, offset: int) -> None:
    mask = mask_of(rule, 1, 6, 9, offset)
    cells, expected = [], []
    for query in range(6):
        for key in range(9):
            (stretch,) = stretches_of(mask, np.array([query]), np.array([key]), 0)
            cells.append([query + offset, key, int(mask.reasons[0, 0, query, key])])
            expected.append([list(line[1:]) for line in stretch_lines(stretch, "")])
    said = asked.evaluate(
        """([clause, cells]) => cells.map(([query, key, bits]) =>
          window.explained(clause, query, key, bits).map((line) => [line.what, line.because, line.change]))""",
        [clause_of(rule, 0), cells],
    )
    for cell, theirs, ours in zip(cells, said, expected, strict=True):
        assert theirs == ours, (str(rule), cell)
