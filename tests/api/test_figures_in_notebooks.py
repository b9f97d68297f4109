"""A figure as the last line of a notebook's cell is a picture, whether pyplot was imported or not."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

import maskviz

RUN = Path(__file__).parents[1] / "store" / "runs" / "version-1" / "batch.npz"

# As a kernel does it; what is shown goes to stdout.
SHOWN = """
import base64, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import maskviz
{before}
data, _ = shell.display_formatter.format(maskviz.load_trace({run!r}).figure(layer=0))
assert ("matplotlib.pyplot" in sys.modules) is {pyplot}
picture = data["image/png"]
print(*sorted(data), base64.b64encode(picture).decode() if isinstance(picture, bytes) else picture)
"""

# What %matplotlib inline registers for every figure.
INLINE = "import matplotlib.pyplot; from IPython.core import pylabtools as p; p.select_figure_formats(shell, {'png'})"


def shown(before: str, pyplot: bool) -> list[str]:
    code = SHOWN.format(run=str(RUN), before=before, pyplot=pyplot)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_figure_is_shown_as_the_png_that_is_saved_without_pyplot(tmp_path: Path) -> None:
    *kinds, picture = shown("", False)
    assert kinds == ["image/png", "text/plain"]
    file = maskviz.load_trace(RUN).save(tmp_path / "figure.png", layer=0)
    assert base64.b64decode(picture) == file.read_bytes()


def test_it_is_shown_once_where_pyplot_draws_into_the_notebook(tmp_path: Path) -> None:
    *kinds, picture = shown(INLINE, True)
    assert kinds == ["image/png", "text/plain"]
    (tmp_path / "figure.png").write_bytes(base64.b64decode(picture))
    assert min(matplotlib.image.imread(tmp_path / "figure.png").shape[:2]) > 100


@pytest.mark.parametrize("dpi", [60, 150])
def test_it_is_drawn_at_its_own_resolution(dpi: int, tmp_path: Path) -> None:
    figure = maskviz.load_trace(RUN).figure(layer=0, dpi=dpi)
    (tmp_path / "figure.png").write_bytes(figure._repr_png_())  # type: ignore[attr-defined]
    height, width, _ = matplotlib.image.imread(tmp_path / "figure.png").shape
    assert (width, height) == tuple(round(side * dpi) for side in figure.get_size_inches())


def test_the_figure_stays_one_of_matplotlib(tmp_path: Path) -> None:
    figure = maskviz.load_trace(RUN).figure(layer=0)
    figure.text(0.5, 0.5, "mine")
    figure.savefig(tmp_path / "own.pdf")
    assert (tmp_path / "own.pdf").read_bytes().startswith(b"%PDF")
