"""The page of the atlas: its markup, style and script around its data, as one file that reaches no network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import maskviz
from maskviz.render.html import digest, escaped
from tools.atlas.data import data_text
from tools.atlas.looks import LOOKS, TRAITS

PAGE = Path(__file__).parents[2] / "docs" / "atlas.html"
_PARTS = Path(__file__).parent / "page"
# The script in the order in which its parts build on each other.
_SCRIPTS = ("data.js", "drawing.js", "words.js", "rows.js", "filters.js", "page.js")
_DATA = re.compile(r'<script type="application/json" id="data">\n(.*?)</script>', re.DOTALL)


def atlas_page(data: dict[str, Any]) -> str:
    """The page; the same data make the same text."""
    script = "(() => {\n" + '"use strict";\n' + "\n".join(map(_part, _SCRIPTS)) + "})();\n"
    style = _part("atlas.css")
    places = {
        "POLICY": (
            f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "GENERATOR": f"maskviz {maskviz.__version__}",
        "STYLE": style,
        "DATA": escaped(data_text({**data, "looks": LOOKS, "traits": TRAITS})),
        "SCRIPT": script,
    }
    parts = _part("atlas.html").split("%%")  # text and names of places in turn
    parts[1::2] = [places[name] for name in parts[1::2]]
    return "".join(parts)


def data_in(page: str) -> dict[str, Any]:
    """The data in a page.

    Raises:
        ValueError: there are none.
    """
    found = _DATA.search(page)
    if found is None:
        raise ValueError("the page has no data")
    data: dict[str, Any] = json.loads(found[1])
    return data


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
