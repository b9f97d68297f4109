"""A report as one file that reaches no network: a page, its style, its script and its data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files

import maskviz
from maskviz.core.panels.report import Report
from maskviz.render.report_data import report_data

# The script in the order in which its parts build on each other.
_SCRIPTS = (
    *("data.js", "why.js", "drawing.js", "map.js", "panels.js", "heads.js", "grid.js", "reading.js"),
    *("lines.js", "saving.js", "keys.js", "page.js"),
)
# What could end the element that holds data, or a line of a script.
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def html_bytes(report: Report) -> bytes:
    """Write a report as a page that opens from disk; the same report makes the same bytes."""
    data, arrays = report_data(report)
    script = "(() => {\n" + '"use strict";\n' + "\n".join(map(_part, _SCRIPTS)) + "})();\n"
    style = _part("report.css")
    places = {
        "TITLE": html.escape(report.title or "attention"),
        "POLICY": (
            f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "GENERATOR": f"maskviz {maskviz.__version__}",
        "STYLE": style,
        "DATA": _json(data),
        "ARRAYS": "\n".join(
            f'<script type="application/octet-stream" id="array-{number}">{one}</script>'
            for number, one in enumerate(arrays)
        ),
        "SCRIPT": script,
    }
    parts = _part("report.html").split("%%")  # text and names of places in turn
    parts[1::2] = [places[name] for name in parts[1::2]]
    return "".join(parts).encode("utf-8")


def _part(name: str) -> str:
    return (files("maskviz.render") / "report" / name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    """JSON in ASCII that can stand in a script element."""
    return escaped(json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False))


def escaped(text: str) -> str:
    """JSON as it can stand in a script element: nothing in it looks like markup."""
    for character, escape in _ESCAPED.items():
        text = text.replace(character, escape)
    return text


def digest(text: str) -> str:
    """The hash by which a content-security policy knows a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
