"""The HTML report as bytes: what is in it, what can get out of it, and how far its numbers may be off."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.core.panels.page import Note
from maskviz.core.rules.kinds import Causal
from maskviz.core.run.trace import Trace
from maskviz.render.html import html_bytes
from maskviz.render.quantised import NOT_A_NUMBER, Ladder, deflated, ladder_for
from maskviz.view.choosing import Choice
from maskviz.view.report import report_of
from tests.reports import batch_of, mask_of, trace_of


def written(trace: Trace) -> str:
    return html_bytes(report_of(trace, Choice())).decode("utf-8")


def element(page: str, identity: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{identity}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


def data(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(element(page, "data"))
    return found


def array(page: str, number: int) -> bytes:
    return zlib.decompress(base64.b64decode(element(page, f"array-{number}")), -15)


def test_the_same_report_is_the_same_bytes() -> None:
    assert written(trace_of()) == written(trace_of())


def test_weights_are_read_back_within_the_error_the_page_states() -> None:
    trace = trace_of(mask_of(Causal(), 1, 40, 40), heads=3)
    page = written(trace)
    report = data(page)
    levels, errors = np.array(report["levels"]), np.array(report["errors"])
    for entry, call in zip(report["calls"], trace.calls, strict=True):
        assert call.pattern is not None
        codes = np.frombuffer(array(page, entry["pattern"][0]), np.uint8).reshape(call.pattern.shape[1:])
        off = np.abs(levels[codes] - call.pattern[0])
        assert off.max() <= report["largestError"]
        assert (off <= errors[codes] + 1e-7).all()
    assert 0 < report["largestError"] < 0.003


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.sampled_from([(180, 192), (31, 96), (15, 64)]))
def test_every_weight_gets_the_nearest_level(weights: list[float], steps: tuple[int, int]) -> None:
    ladder = Ladder.of(*steps, top=1.0)
    assert ladder is not None
    values = np.array(weights, np.float32)
    nearest = np.abs(values[:, None] - ladder.levels).min(axis=1)
    off = np.abs(ladder.values(ladder.codes(values)) - values)
    assert (off <= nearest + values * 2.0**-10 + 1e-7).all()
    assert (off <= ladder.errors[ladder.codes(values)] + 1e-9).all()


def test_what_is_no_number_has_a_code_of_its_own() -> None:
    ladder = Ladder.of(31, 96, 1.0)
    assert ladder is not None
    codes = ladder.codes(np.array([np.nan, np.inf, -0.1, 0.0], np.float32))
    assert codes.tolist() == [NOT_A_NUMBER, NOT_A_NUMBER, 0, 0]


def test_fewer_bytes_make_coarser_levels_and_no_weights_make_none_fail() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(256), (1, 4, 256)).astype(np.float32)
    fine, coarse = ladder_for([weights], 10**9), ladder_for([weights], 1)
    assert fine.levels[1] < coarse.levels[1]
    assert len(deflated(coarse.codes(weights).tobytes())) < len(deflated(fine.codes(weights).tobytes()))
    assert ladder_for([], 1).levels[0] == 0


def test_masks_are_the_reasons_of_the_trace_and_each_is_stored_once() -> None:
    trace = trace_of(mask_of(Causal(), 2, 5, 5), layers=4)
    page = written(trace)
    report = data(page)
    assert len(report["masks"]) == 1
    numbers = [row["array"] for row in report["masks"][0]["rows"]]
    assert numbers == [0, 0], "two texts without padding have one mask"
    assert array(page, 0) == trace.calls[0].mask.reasons[0].tobytes()


def test_a_run_before_a_head_mask_is_stored_as_its_difference() -> None:
    trace = trace_of()
    report = report_of(trace, Choice())
    pattern = report.calls[0].pattern
    assert pattern is not None
    plain = pattern[..., ::-1].copy()
    page = html_bytes(replace(report, calls=(replace(report.calls[0], before=plain),))).decode()
    entry = data(page)["calls"][0]
    after, change = (np.frombuffer(array(page, entry[name][0]), np.uint8) for name in ("pattern", "before"))
    levels = np.array(data(page)["levels"])
    assert np.abs(levels[after + change].reshape(plain.shape) - plain).max() < 0.003


class Elements(HTMLParser):
    """Names and attributes of everything in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    return parser.found


HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;%%DATA%%",
    "\u2028\u2029\x1b[31m\x00\udc80",
    "javascript:'\"`${x}",
)


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.sampled_from(HOSTILE).map(lambda one: one * 2)))
def test_no_text_becomes_markup(text: str) -> None:
    plain = [(tag, sorted(attributes)) for tag, attributes in elements(written(trace_of()))]
    trace = trace_of(batch=batch_of(1, 8, text))
    report = report_of(replace(trace, notes=(text,)), Choice(title=text or "x"), command=text)
    page = html_bytes(replace(report, findings=(Note(text),))).decode("utf-8")
    assert [(tag, sorted(attributes)) for tag, attributes in elements(page)] == plain
    assert data(page)["axes"][0][0][0] == text
    inert = element(page, "data")
    assert not set("<>&\u2028\u2029\x00\x1b") & set(inert)


def test_nothing_in_the_page_names_another_place() -> None:
    page = written(trace_of())
    for tag, attributes in elements(page):
        for name in ("src", "action", "formaction", "data", "poster", "srcset"):
            assert name not in attributes, (tag, attributes)
        assert attributes.get("href") in (None, "data:,", "#map")
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(|localStorage|https?://", page)


def test_the_policy_forbids_the_network_and_allows_the_pages_own_script_and_style_alone() -> None:
    policies = [one["content"] for tag, one in elements(written(trace_of())) if "content" in one]
    policy = next(one for one in policies if one and "default-src" in one)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("rows", [1, 3])
def test_a_run_without_weights_has_masks_alone(rows: int) -> None:
    trace = trace_of(mask_of(Causal(), rows, 6, 6))
    bare = replace(trace, calls=tuple(replace(call, pattern=None) for call in trace.calls))
    report = data(written(bare))
    assert not any("pattern" in call for call in report["calls"])
    assert report["largestError"] == 0
