"""What a notebook shows of a trace: IPython's own formatters are asked, as Jupyter asks them."""

from __future__ import annotations

import html
import io
import re

import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

import maskviz
from maskviz import Trace
from maskviz.api.shown import ShownRun


@pytest.fixture(scope="module")
def trace() -> Trace:
    return maskviz.trace("demo:gpt", "<b>the</b> cat & 'dog' \"sat\"", head_mask="0:1")


@pytest.fixture(scope="module")
def shown(trace: Trace) -> dict[str, object]:
    formatter = InteractiveShell.instance().display_formatter
    assert formatter is not None
    formatted, _ = formatter.format(trace)
    found: dict[str, object] = formatted
    return found


def test_a_notebook_gets_the_report_and_a_picture_for_those_who_show_no_html(shown: dict[str, object]) -> None:
    assert {"text/html", "image/png", "text/plain"} <= set(shown)
    picture = shown["image/png"]
    assert isinstance(picture, bytes)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.width > 300


def test_the_report_in_a_frame_is_the_one_that_is_saved(trace: Trace, shown: dict[str, object]) -> None:
    frame = str(shown["text/html"])
    page = re.search(r' srcdoc="([^"]*)"', frame)
    assert page is not None
    assert html.unescape(page[1]).encode() == ShownRun(trace.saved()).data(".html")


def test_a_frame_can_reach_nothing_of_the_notebook(shown: dict[str, object]) -> None:
    frame = str(shown["text/html"])
    assert 'sandbox="allow-scripts allow-downloads"' in frame
    assert frame.count("<") == 2  # the frame alone: all of the report's markup is inside the attribute
    assert "default-src &#x27;none&#x27;" in frame
