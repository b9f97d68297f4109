"""A page as a figure: PNG, SVG or PDF, on white, sized by its content and the same bytes each time."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import groupby
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskviz.core.errors import UsageError
from maskviz.core.panels.charts import Bars, Curve
from maskviz.core.panels.page import (
    DiffGrid,
    HeadGrid,
    Heatmap,
    MapRow,
    MaskGrid,
    Matrix,
    Note,
    Page,
    Panel,
    Table,
    TokenLines,
    TokenStrip,
    Tone,
)
from maskviz.core.words import Style
from maskviz.core.writing import parameter, printable
from maskviz.render.fonts import typeface_for
from maskviz.render.image.bars import bars_block
from maskviz.render.image.canvas import QUIET_INK, Block, Canvas, Ink, Paper, packed, stacked, text_block
from maskviz.render.image.curve import curve_block
from maskviz.render.image.diff import diff_block
from maskviz.render.image.grid import heatmap_block, map_row_block, mask_block
from maskviz.render.image.heads import head_grid_block
from maskviz.render.image.lines import lines_block
from maskviz.render.image.matrix import matrix_block
from maskviz.render.image.words import note_block, strip_block, table_block

ImageFormat = Literal["png", "svg", "pdf"]

_MARGIN = 0.3  # inches
_GAP = 0.28
_LEAST_WIDTH = 3.6
_CROWD = 2  # grids on a page from which on each is smaller, so that two stand side by side


@dataclass(frozen=True, slots=True)
class Layout:
    """How wide a figure is.

    Attributes:
        width: Inches that grids side by side and wrapped text take.
        exact: Whether the figure is exactly that wide, without a margin, and its pictures shrink to fit; else it is as
            wide as what is in it.
    """

    width: float
    exact: bool = False


SCREEN = Layout(10.0)
# Columns of the venues people write for are 3.0 to 3.4 inches wide, two of them with the gap 6.3 to 7.2.
ONE_COLUMN, TWO_COLUMNS = Layout(3.25, exact=True), Layout(6.75, exact=True)


def layout_of(style: Style, columns: int | None) -> Layout:
    """Return how wide a figure of a style is.

    Raises:
        UsageError: columns are given where there are none, or another number of them than 1 or 2.
    """
    if columns is not None and style is not Style.PAPER:
        raise UsageError(f"{columns} columns are of the style paper", f"add {parameter('style', 'paper')}")
    if columns not in (None, 1, 2):
        raise UsageError(f"a figure cannot take {columns} columns", "a paper has 1 or 2")
    if style is Style.SCREEN:
        return SCREEN
    return TWO_COLUMNS if columns == 2 else ONE_COLUMN


# The user's own style sheet must not change a figure, and texts in SVG and PDF stay texts.
_SETTINGS: Any = {
    "svg.hashsalt": "maskviz",
    "svg.fonttype": "none",
    "svg.image_inline": True,
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "text.usetex": False,
    "text.antialiased": True,
    "image.composite_image": True,
    "path.simplify": True,
    "savefig.bbox": None,
    "savefig.pad_inches": 0.1,
    "savefig.transparent": False,
    "axes.facecolor": "none",
}


class PageFigure(Figure):
    """A figure that a notebook shows where it is a cell's last line: pyplot, which shows all others, does not know it.

    Attributes:
        facts: What the metadata of a PNG of it say.
    """

    facts: Any = None

    def _repr_png_(self) -> bytes:
        """The same bytes as the PNG file of the page."""
        buffer = io.BytesIO()
        with matplotlib.rc_context(_SETTINGS):
            self.savefig(buffer, format="png", dpi=self.dpi, metadata=self.facts)
        return buffer.getvalue()


def figure(page: Page, *, dpi: int = 150, layout: Layout = SCREEN) -> Figure:
    """Return the page as a matplotlib figure on an Agg canvas, never registered with pyplot.

    Args:
        page: What to draw.
        dpi: Device pixels per inch; cells are whole pixels at this resolution.
        layout: How wide it is.
    """
    with matplotlib.rc_context(_SETTINGS):
        drawn = _figure(page, dpi, layout)
    drawn.facts = _metadata(page, "png")
    return drawn


def image_bytes(page: Page, format: ImageFormat, *, dpi: int = 150, layout: Layout = SCREEN) -> bytes:
    """Return the page as a file of the given format; the same page gives the same bytes."""
    with matplotlib.rc_context(_SETTINGS):
        buffer = io.BytesIO()
        _figure(page, dpi, layout).savefig(buffer, format=format, dpi=dpi, metadata=_metadata(page, format))
        return buffer.getvalue()


def _figure(page: Page, dpi: int, layout: Layout) -> PageFigure:
    typeface = typeface_for(_strings(page), dpi)
    grids = sum(isinstance(panel, MaskGrid | Heatmap | DiffGrid) for panel in page.panels)
    paper = Paper(typeface, dpi, layout.width, crowded=grids >= _CROWD, exact=layout.exact)
    panels = list(page.panels)
    if typeface.apology:
        panels.append(Note(typeface.apology, Tone.QUIET))
    heading = [] if layout.exact else [_page_heading(page, paper)]  # a paper's figure has a caption
    content = stacked([*heading, *_rows(panels, paper)], _GAP)
    margin = 0.0 if layout.exact else _MARGIN
    inches = layout.width if layout.exact else max(content.width, _LEAST_WIDTH) + 2 * margin
    # Whole device pixels: the picture code places cells on them.
    width, height = (math.ceil(length * dpi) / dpi for length in (inches, content.height + 2 * margin))
    drawn = PageFigure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(drawn)
    content.draw(Canvas(drawn, typeface), margin, margin)
    return drawn


def _page_heading(page: Page, paper: Paper) -> Block:
    title, subtitle = Ink(13.0, bold=True), Ink(8.5, QUIET_INK)
    lines = [(line, title) for line in paper.typeface.wrap(page.title, title.size, paper.width, bold=True)]
    lines += [(line, subtitle) for line in paper.typeface.wrap(page.subtitle, subtitle.size, paper.width)]
    return text_block([(line, ink) for line, ink in lines if line], paper)


def _rows(panels: list[Panel], paper: Paper) -> list[Block]:
    """Return the panels as blocks: neighbouring pictures in columns by their size, notes close together."""
    rows: list[Block] = []
    for kind, group in groupby(panels, _kind):
        blocks = [_block(panel, _half(paper) if kind == "grid" else paper) for panel in group]
        if kind in ("grid", "picture"):
            rows.append(packed(blocks, paper.width, _GAP))
        elif kind == "note":
            rows.append(stacked(blocks, 0.06))
        else:
            rows += blocks
    return rows


def _half(paper: Paper) -> Paper:
    """Return the paper of one of several grids: across both columns of a paper, two stand side by side."""
    two = paper.exact and paper.crowded and paper.width >= TWO_COLUMNS.width
    return replace(paper, width=(paper.width - _GAP) / 2) if two else paper


def _kind(panel: Panel) -> str:
    match panel:
        case MaskGrid() | Heatmap() | DiffGrid() | TokenLines():
            return "grid"
        case Matrix() | Bars() | Table() | HeadGrid() | Curve():
            return "picture"
        case Note():
            return "note"
        case _:
            return "other"


def _block(panel: Panel, paper: Paper) -> Block:
    match panel:
        case Note():
            return note_block(panel, paper)
        case TokenStrip():
            return strip_block(panel, paper)
        case Table():
            return table_block(panel, paper)
        case MaskGrid():
            return mask_block(panel, paper)
        case DiffGrid():
            return diff_block(panel, paper)
        case Heatmap():
            return heatmap_block(panel, paper)
        case MapRow():
            return map_row_block(panel, paper)
        case TokenLines():
            return lines_block(panel, paper)
        case HeadGrid():
            return head_grid_block(panel, paper)
        case Matrix() | Bars() | Curve():
            return _chart(panel, paper)


def _chart(panel: Matrix | Bars | Curve, paper: Paper) -> Block:
    match panel:
        case Matrix():
            return matrix_block(panel, paper)
        case Bars():
            return bars_block(panel, paper)
        case Curve():
            return curve_block(panel, paper)


def _strings(value: object) -> Iterator[str]:
    """Yield every string in a page, its metadata aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _strings(each)
    elif is_dataclass(value):
        for each_field in fields(value):
            yield from _strings(getattr(value, each_field.name))


def _metadata(page: Page, format: ImageFormat) -> dict[str, str | None]:
    """Return what the file says about itself; dates and versions are left out, they would change the bytes."""
    facts = [printable(f"{name}: {value}") for name, value in page.facts.items()]
    title, subtitle = printable(page.title), printable(page.subtitle)
    description = "\n".join([subtitle, *facts])
    match format:
        case "png":
            return {"Title": title, "Description": description, "Software": "maskviz"}
        case "svg":
            return {"Title": title, "Description": description, "Creator": "maskviz", "Date": None}
        case "pdf":
            return {
                "Title": title,
                "Subject": subtitle,
                "Keywords": "; ".join(facts),
                "Creator": "maskviz",
                "Producer": None,
                "CreationDate": None,
            }
