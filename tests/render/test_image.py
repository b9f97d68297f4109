"""Pages as files: pixels at computed places, the same bytes each time, nothing cut, nothing read as a formula."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text
from PIL import Image

from maskviz.core.arrays import ByteArray
from maskviz.core.panels.charts import Bars, Curve, CurveLine
from maskviz.core.panels.page import Note, Page, Token, TokenStrip, Tone
from maskviz.render import fonts
from maskviz.render.fonts import Typeface, typeface_for
from maskviz.render.image.curve import field_of
from maskviz.render.image.page import ONE_COLUMN, SCREEN, TWO_COLUMNS, ImageFormat, Layout, figure, image_bytes
from maskviz.render.palette import BLOCKED, IMAGE_INK, REASONS, VISIBLE, diverging, rgb, sequential
from tests.render.panels_to_draw import (
    bars,
    curve,
    head_grid,
    heatmap,
    mask,
    matrix,
    open_map,
    open_mask,
    page,
    reasons,
    signed_matrix,
    table,
    tokens,
    wild_page,
    wild_text,
)

EVERYTHING = page(
    TokenStrip("tokens", (tokens(14), tokens(6, 2)), ("text 1", "text 2")),
    mask(reasons(9, window=4)),
    mask(reasons(8, padding=2), "text 1", padding=2),
    heatmap(),
    head_grid(2, 4, 9, {(0, 3): 0.0, (1, 1): 0.25}),
    matrix(),
    signed_matrix(),
    bars(),
    curve(),
    table(),
    Note("A plain note."),
    Note("A warning.", Tone.WARNING),
)
FORMATS: tuple[ImageFormat, ...] = ("png", "svg", "pdf")


def pixels(shown: Page, dpi: int = 150) -> ByteArray:
    """Return uint8 [row, column, 3] of the page as PNG."""
    return np.asarray(Image.open(io.BytesIO(image_bytes(shown, "png", dpi=dpi))).convert("RGB"))


def grid_corner(drawn: Figure) -> tuple[int, int]:
    """Return the device pixel (row, column) of the first picture's top left corner."""
    box = drawn.axes[0].get_window_extent()
    return round(drawn.bbox.height - box.y1), round(box.x0)


def texts(drawn: Figure) -> Iterator[Text]:
    yield from (artist for artist in drawn.findobj(Text) if isinstance(artist, Text) and artist.get_text())


def test_each_cell_of_a_mask_has_the_colour_of_its_reason() -> None:
    panel = mask(reasons(9, window=4))
    picture, (top, left) = pixels(page(panel)), grid_corner(figure(page(panel)))
    cell = 30  # device pixels: 0.2 inches at 150 dpi
    for (row, column), code in np.ndenumerate(panel.codes):
        expected = REASONS[int(code)].fill if code else VISIBLE.fill
        colour = picture[top + row * cell + cell // 2, left + column * cell + cell // 2]
        assert tuple(colour) == rgb(expected), (row, column)


def test_blocked_and_zero_differ_and_neither_is_paper() -> None:
    panel = open_map(np.zeros((2, 2)), [[False, True], [False, False]])
    picture, (top, left) = pixels(page(panel)), grid_corner(figure(page(panel)))
    zero, stopped = picture[top + 15, left + 15], picture[top + 15, left + 45]
    assert tuple(zero) == tuple(sequential(np.zeros(1))[0])
    assert tuple(stopped) == rgb(BLOCKED.fill)
    assert tuple(stopped) != (255, 255, 255)


def test_every_cell_of_a_large_map_is_equally_many_pixels() -> None:
    values = np.indices((300, 300)).sum(axis=0) % 2
    panel = open_map(values)
    picture, (top, left) = pixels(page(panel)), grid_corner(figure(page(panel)))
    cell = 3
    expected = np.repeat(np.repeat(values, cell, axis=0), cell, axis=1)
    shown = picture[top : top + 300 * cell, left : left + 300 * cell, 0]
    assert ((shown > 150) == (expected == 1)).all()


def test_padding_rows_are_grey() -> None:
    panel = mask(reasons(8, padding=2), padding=2)
    picture, (top, left) = pixels(page(panel)), grid_corner(figure(page(panel)))
    red, green, blue = picture[top + 7 * 30 + 15, left + 15]
    assert red == green == blue


def test_all_heads_are_one_picture() -> None:
    drawn = figure(page(head_grid(30, 9, 24)))
    assert len(drawn.axes) == 2  # the maps and the scale
    assert len(drawn.axes[0].images) == 1


def test_gated_heads_are_marked() -> None:
    words = {text.get_text() for text in texts(figure(page(head_grid(2, 4, 9, {(0, 3): 0.0, (1, 1): 0.25}))))}
    assert {"✂ ×0", "×0.25"} <= words


@pytest.mark.parametrize("format", FORMATS)
def test_a_page_gives_the_same_bytes_twice(format: ImageFormat) -> None:
    assert image_bytes(EVERYTHING, format) == image_bytes(EVERYTHING, format)


@pytest.mark.parametrize("format", FORMATS)
def test_the_users_own_style_changes_nothing(format: ImageFormat) -> None:
    plain = image_bytes(EVERYTHING, format)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "savefig.bbox": "tight", "text.usetex": True}):
        assert image_bytes(EVERYTHING, format) == plain


def test_drawing_leaves_the_global_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    image_bytes(EVERYTHING, "svg")
    assert dict(matplotlib.rcParams) == before


def test_files_say_what_they_are() -> None:
    png = Image.open(io.BytesIO(image_bytes(EVERYTHING, "png"))).info
    assert png["Title"] == "Attention masks" and "model: demo:bert" in png["Description"]
    svg = image_bytes(EVERYTHING, "svg").decode()
    assert "<dc:title>Attention masks</dc:title>" in svg and "text: the quick brown fox" in svg
    pdf = image_bytes(EVERYTHING, "pdf")
    assert b"(Attention masks)" in pdf and b"(model: demo:bert; text: the quick brown fox)" in pdf
    for written in (svg.encode(), pdf):
        assert b"20" + b"26-" not in written and matplotlib.__version__.encode() not in written


def test_svg_text_stays_text_and_pdf_fonts_are_truetype() -> None:
    root = ElementTree.fromstring(image_bytes(EVERYTHING, "svg"))
    words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"[CLS]", "jumps", "query", "key"} <= words
    assert b"/TrueType" in image_bytes(EVERYTHING, "pdf") or b"/CIDFontType2" in image_bytes(EVERYTHING, "pdf")


def test_parts_of_an_image_have_a_number_for_all_of_them_and_a_colour_on_the_axes() -> None:
    folded = TokenStrip("t", ((Token("a"), Token("<image> × 4", "image", 4), Token("b")),))
    svg = image_bytes(page(folded), "svg").decode()
    assert [number for number in ("0", "1-4", "5") if f">{number}</text>" in svg] == ["0", "1-4", "5"]
    axes = open_mask((Token("x"), Token("<image>", "image")), (Token("x"), Token("y")))
    labels = [line for line in image_bytes(page(axes), "svg").decode().splitlines() if ">&lt;image&gt;</text>" in line]
    assert labels
    assert all(IMAGE_INK in line for line in labels)


@pytest.mark.parametrize("token", ["$x$", "a_b$", "\\alpha", "$\\frac{1}{2}$", "^$_$"])
def test_no_token_is_read_as_a_formula(token: str) -> None:
    svg = image_bytes(page(TokenStrip("t", ((Token(token),),))), "svg").decode()
    assert f">{token}</text>" in svg


@settings(max_examples=15, deadline=None)
@given(wild_text, st.sampled_from(FORMATS))
def test_any_token_is_drawn_without_a_warning(text: str, format: ImageFormat) -> None:
    written = image_bytes(wild_page(text), format)
    if format == "svg":
        ElementTree.fromstring(written)
    assert len(written) > 1000


@pytest.mark.parametrize(
    "shown",
    [
        EVERYTHING,
        page(head_grid(3, 12, 20)),
        page(mask(reasons(60))),
        page(mask(reasons(200))),
        page(signed_matrix(30, 9)),
        page(signed_matrix(126, 128)),
        page(heatmap(5), title="A long title that goes on " * 9),
    ],
    ids=["everything", "heads", "60 tokens", "200 tokens", "30 x 9", "126 x 128", "long title"],
)
@pytest.mark.parametrize("layout", [SCREEN, ONE_COLUMN, TWO_COLUMNS], ids=["screen", "one column", "two columns"])
def test_no_text_is_cut_by_the_edge_or_by_other_text(shown: Page, layout: Layout) -> None:
    drawn = figure(shown, layout=layout)
    if layout.exact:
        assert drawn.get_figwidth() == pytest.approx(layout.width, abs=1 / drawn.dpi)
    page_box = drawn.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(drawn)]
    assert len(boxes) > 5
    for words, box in boxes:
        assert page_box.x0 - 0.5 <= box.x0 and box.x1 <= page_box.x1 + 0.5, words  # half a pixel is no cut
        assert page_box.y0 <= box.y0 and box.y1 <= page_box.y1, words
    corners = np.array([[box.x0, box.y0, box.x1, box.y1] for _, box in boxes])
    corners += [1.5, 1.5, -1.5, -1.5]  # anti-aliased edges may touch
    for number, (x0, y0, x1, y1) in enumerate(corners[:-1]):
        later = corners[number + 1 :]
        meets = (later[:, 0] < x1) & (later[:, 2] > x0) & (later[:, 1] < y1) & (later[:, 3] > y0)
        assert not meets.any(), (boxes[number][0], boxes[number + 1 + int(meets.argmax())][0])


def test_empty_pages_and_panels_are_drawn() -> None:
    for shown in (Page("", "", ()), page(open_mask((), ()), TokenStrip("strip", ((),)), head_grid(0, 0, 2))):
        assert min(figure(shown).get_size_inches()) > 0.5
        assert image_bytes(shown, "png")


def test_zero_of_a_centred_matrix_is_neutral_and_no_number_is_paper() -> None:
    panel = signed_matrix(30, 32)
    picture, (top, left) = pixels(page(panel)), grid_corner(figure(page(panel)))
    cell = 45  # device pixels: 0.3 inches at 150 dpi
    colours = picture[top + cell // 2 :: cell, left + cell // 2 :: cell][:30, :32].astype(int)
    assert tuple(colours[0, 0]) == tuple(diverging(np.zeros(1))[0])
    assert tuple(colours[-1, -1]) == (255, 255, 255)
    warmth = np.sign(colours[..., 0] - colours[..., 2])
    strong = np.abs(panel.values) > 1
    assert strong.any() and (warmth == np.sign(panel.values))[strong].all()


def test_a_matrix_writes_its_numbers_while_they_are_readable() -> None:
    def words(shown: Page) -> set[str]:
        return {text.get_text() for text in texts(figure(shown))}

    assert {"0", "+.0012", "-1e-4", "+12", "-1.2"} <= words(page(signed_matrix()))
    assert "+12" not in words(page(signed_matrix(126, 128)))
    assert max(figure(page(signed_matrix(126, 128))).get_size_inches()) < 13


def test_a_negative_bar_goes_left_of_zero() -> None:
    boxes = [patch for patch in figure(page(bars())).artists if isinstance(patch, Rectangle)]
    spans = [(box.get_x(), box.get_x() + box.get_width()) for box in boxes if box.get_width() < 0.9]
    zero = spans[0][0]
    assert [start for start, _ in spans[:3]] == pytest.approx([zero] * 3)
    assert spans[3][1] == pytest.approx(zero) and spans[3][0] < zero
    lengths = [end - start for start, end in spans]
    assert lengths[0] == pytest.approx(2 * lengths[1]) == pytest.approx(2 * lengths[3])


def test_an_interval_reaches_from_low_to_high_and_is_left_out_where_there_is_none() -> None:
    panel = bars()
    drawn = figure(page(panel))
    lines = [line for line in drawn.findobj(LineCollection) if len(line.get_segments()) == 9]
    (whiskers,) = lines  # three lines for each of three intervals
    spans = [segment[:, 0] for segment in whiskers.get_segments()[::3]]
    boxes = [box for box in drawn.artists if isinstance(box, Rectangle) and box.get_width() < 0.9]
    inch = boxes[0].get_width() / 0.5  # of one unit
    zero = boxes[0].get_x()
    assert panel.low is not None and panel.high is not None
    ends = [(panel.low[bar], panel.high[bar]) for bar in (0, 2, 3)]
    np.testing.assert_allclose((np.array(spans) - zero) / inch, ends, atol=1e-4)


def test_lines_and_bands_go_through_their_points() -> None:
    panel = curve()
    drawn = figure(page(panel))
    field = field_of(panel)
    strokes = [artist for artist in drawn.artists if isinstance(artist, Line2D)]
    lines = [stroke for stroke in strokes if len(np.asarray(stroke.get_xdata())) == len(panel.x)]
    assert len(lines) == 3
    height = drawn.get_size_inches()[1]
    tops = []
    for line, shown in zip(reversed(panel.lines), lines, strict=True):
        down = (1 - np.asarray(shown.get_ydata(), dtype=float)) * height
        expected = [field.down(value) for value in line.values.tolist()]
        tops.append(np.nanmean(down - expected))
        np.testing.assert_allclose(down - expected, tops[-1] + np.array(expected) * 0, atol=1e-6)
    assert tops == pytest.approx([tops[0]] * 3)
    (band,) = [patch for patch in drawn.artists if isinstance(patch, Polygon)]
    down = (1 - band.get_xy()[:, 1]) * height - tops[0]
    assert panel.lines[2].low is not None and panel.lines[2].high is not None
    ends = [*panel.lines[2].low.tolist(), *panel.lines[2].high.tolist()[::-1]]
    np.testing.assert_allclose(down[:26], [field.down(value) for value in ends], atol=1e-6)


@pytest.mark.parametrize(
    "panel",
    [
        Bars("one", "", ("0.1",), np.zeros(1, dtype=np.float32), "nats"),
        Bars("none", "", (), np.zeros(0, dtype=np.float32), "nats"),
        Bars("odd", "", ("a", "b"), np.array([np.nan, np.inf]), "nats", np.array([np.nan, 0]), np.array([1, np.inf])),
        Curve("one", "", np.array([3.0]), "x", "y", (CurveLine("a", np.array([2.0])),)),
        Curve("nan", "", np.arange(2, dtype=np.float32), "x", "y", (CurveLine("a", np.full(2, np.nan)),), 1.0, "all"),
        Curve("none", "", np.zeros(0, dtype=np.float32), "x", "y", ()),
    ],
    ids=lambda panel: f"{type(panel).__name__} {panel.title}",
)
def test_any_bars_and_curve_are_drawn(panel: Bars | Curve) -> None:
    for format in FORMATS:
        assert len(image_bytes(page(panel), format)) > 1000


def test_a_large_mask_is_one_picture_with_thinned_labels_on_a_sane_page() -> None:
    drawn = figure(page(mask(reasons(512))))
    assert len(drawn.axes) == 1 and max(drawn.get_size_inches()) < 12
    labels = [text.get_text() for text in texts(drawn) if re.match(r"\d+ \S+$", text.get_text())]
    assert 20 < len(labels) < 120


def test_a_huge_mask_is_folded_and_says_so() -> None:
    drawn = figure(page(mask(reasons(2500))))
    assert max(drawn.get_size_inches()) < 12
    assert any("none, some or all of 3 × 3 cells" in text.get_text() for text in texts(drawn))


def test_a_character_without_a_glyph_is_an_escape_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_families_at_hand", lambda: ())
    fonts._families_for.cache_clear()
    words = [text.get_text() for text in texts(figure(page(TokenStrip("t", ((Token("你"),),)))))]
    fonts._families_for.cache_clear()
    assert "\\u4f60" in words
    assert any("glyphs for \\u4f60: pip install 'maskviz[cjk]'" in text for text in words)


@pytest.mark.parametrize(
    ("text", "face"),
    [("直骨你好", "SC"), ("直骨です", "JP"), ("直骨입니다", "KR")],
    ids=["Chinese", "beside kana", "beside hangul"],
)
def test_the_extra_draws_chinese_characters_in_the_forms_of_the_text_around_them(
    text: str, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    for cache in (fonts._families_for, fonts._families_at_hand):
        cache.cache_clear()
    found = typeface_for([text])
    for cache in (fonts._families_for, fonts._families_at_hand):
        cache.cache_clear()
    assert found.missing == frozenset()
    assert found.families[1].endswith(f"CJK {face}")


@pytest.mark.parametrize("text", ["你好", "مرحبا"], ids=["Chinese", "Arabic"])
def test_letters_in_a_pdf_are_embedded_and_in_an_svg_are_text(text: str) -> None:
    shown = page(Note(text))
    pdf, svg = image_bytes(shown, "pdf"), image_bytes(shown, "svg").decode()
    assert b"/FontFile" in pdf or b"/Type3" in pdf or b"/Subtype /Type3" in pdf
    assert text in svg


def test_text_of_the_house_font_looks_at_no_other_font(monkeypatch: pytest.MonkeyPatch) -> None:
    def looks_around() -> tuple[str, ...]:
        raise AssertionError("looked for other fonts")

    monkeypatch.setattr(fonts, "_families_at_hand", looks_around)
    fonts._families_for.cache_clear()
    assert typeface_for(["naïve ∧ × … ✂ ≤"]) == Typeface(("DejaVu Sans",), frozenset())


def test_widths_are_those_of_the_figure() -> None:
    typeface = typeface_for([""])
    drawn = figure(page(Note("measured words")))
    extent = next(text for text in texts(drawn) if text.get_text() == "measured words").get_window_extent()
    assert typeface.width("measured words", 7.5) * 150 == pytest.approx(extent.width, abs=3)
