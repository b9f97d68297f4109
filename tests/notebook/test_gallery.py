"""The gallery as it is checked in."""

from __future__ import annotations

import json
from pathlib import Path

GALLERY = Path(__file__).parents[2] / "docs" / "gallery.ipynb"


def test_the_gallery_is_checked_in_without_outputs() -> None:
    cells = json.loads(GALLERY.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
