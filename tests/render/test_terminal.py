"""Pages in the terminal: what a person reads, in every kind of terminal."""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from maskviz.core.panels.charts import Bars, Curve, CurveLine
from maskviz.core.panels.page import Matrix, Note, Page, Token, TokenStrip, Tone
from maskviz.core.words import Scale
from maskviz.render.palette import diverging, hexadecimal, rgb
from maskviz.render.terminal.page import render
from tests.render.panels_to_draw import (
    WILD,
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

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def drawn(shown: Page, width: int = 80, height: int | None = None, colours: str | None = None, **more: object) -> str:
    """Return what a terminal gets; without colours, plain text."""
    console = Console(
        width=width,
        file=io.StringIO(),
        color_system=colours,  # type: ignore[arg-type]
        force_terminal=colours is not None,
        legacy_windows=False,
        _environ={},
        **more,  # type: ignore[arg-type]
    )
    render(shown, console, height)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn_in_ascii(shown: Page, width: int = 80, height: int | None = None) -> str:
    """Return what a terminal gets that can encode ASCII only; encoding anything else would raise."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii", errors="strict", newline="\n")
    render(shown, Console(width=width, file=stream, color_system=None, legacy_windows=False, _environ={}), height)
    stream.flush()
    return buffer.getvalue().decode("ascii")


GOLDEN_PAGES = {
    "masks": page(mask(reasons(9, window=4)), mask(reasons(8, padding=2), "text 1", 2, "causal ∧ padding")),
    "folded": page(mask(reasons(160, window=48))),
    "maps": page(heatmap(), heatmap(6, Scale.LOG)),
    "heads": page(head_grid(2, 4, 9, {(0, 3): 0.0, (1, 1): 0.25})),
    "words": page(
        TokenStrip("tokens", (tokens(14), tokens(6, 2)), ("text 1", "text 2")),
        TokenStrip("packed", (tokens(2), tokens(3)), ("text 1", "text 2"), (0, 2)),
        TokenStrip("image", ((Token("<s>", "special"), Token("<image> × 256", "image", 256), Token(" a")),)),
        table(),
        matrix(),
        Note("The captured run is the plain run."),
        Note("Rows of padding queries have no meaning. " * 3, Tone.WARNING),
    ),
    "numbers": page(signed_matrix(), bars(), curve()),
    "wide_tokens": page(
        open_mask(
            (Token("你好"), Token("[bold]"), Token(" the"), Token("a very long token indeed")),
            (Token("a"), Token("b"), Token("c"), Token("d")),
        ),
        TokenStrip("tokens", ((Token("你好"), Token(" the"), Token("  "), Token("naïve")),)),
    ),
}


@pytest.mark.parametrize("name", GOLDEN_PAGES)
def test_a_page_reads_as_its_golden_file(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"render_{name}", drawn(GOLDEN_PAGES[name]))


@pytest.mark.parametrize("name", ["masks", "maps", "words", "numbers", "wide_tokens"])
def test_an_ascii_page_reads_as_its_golden_file(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"render_{name}_ascii", drawn_in_ascii(GOLDEN_PAGES[name]))


@settings(max_examples=25, deadline=None)
@given(wild_text, st.integers(24, 120), st.sampled_from([None, 12, 40]))
def test_no_line_is_wider_than_the_console_whatever_the_tokens(text: str, width: int, height: int | None) -> None:
    for line in drawn(wild_page(text), width, height).split("\n"):
        assert cell_len(line) <= width


@pytest.mark.parametrize("name", GOLDEN_PAGES)
@pytest.mark.parametrize("width", [30, 61, 200])
def test_no_line_is_wider_than_the_console_whatever_the_panel(name: str, width: int) -> None:
    assert max(map(cell_len, drawn(GOLDEN_PAGES[name], width).split("\n"))) <= width


@settings(max_examples=25, deadline=None)
@given(wild_text)
def test_nothing_but_printable_text_reaches_a_terminal_without_colour(text: str) -> None:
    harmless = dict.fromkeys(map(ord, "\n\u200c\u200d"))
    kinds = {unicodedata.category(character) for character in drawn(wild_page(text)).translate(harmless)}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@settings(max_examples=25, deadline=None)
@given(wild_text)
def test_an_ascii_terminal_gets_ascii(text: str) -> None:
    assert drawn_in_ascii(wild_page(text))


@pytest.mark.parametrize("text", [text for text in WILD if "\x1b" in text])
def test_no_escape_of_a_token_survives_among_our_own(text: str) -> None:
    output = drawn(wild_page(text), colours="truecolor")
    assert "\\x1b[31mred" in ESCAPE.sub("", output)
    assert "\x1b" not in ESCAPE.sub("", output)
    assert "\x1b[31m" not in output


@pytest.mark.parametrize("text", ["[bold red]x[/]", "[/]", ":smile:", "[link=a]b"])
def test_markup_and_emoji_codes_are_shown_as_they_are(text: str) -> None:
    assert drawn(wild_page(text), width=120).count(text) >= 8


@pytest.mark.parametrize(("system", "sign"), [("truecolor", "38;2;"), ("256", "38;5;"), ("standard", "\x1b[34m")])
def test_each_colour_system_gets_its_own_codes(system: str, sign: str) -> None:
    output = drawn(GOLDEN_PAGES["masks"], colours=system)
    assert sign in output
    assert ("38;2;" in output) == (system == "truecolor")


def test_no_color_leaves_no_colour_and_shades_by_character() -> None:
    output = drawn(GOLDEN_PAGES["maps"], colours="truecolor", no_color=True)
    assert not re.search(r"[34]8;", output)
    assert "█" in output
    assert "█" not in drawn(GOLDEN_PAGES["maps"], colours="truecolor")


def test_blocked_looks_other_than_zero_with_and_without_colour() -> None:
    shown = page(open_map(np.zeros((2, 2)), reasons(2) != 0))
    assert "0 [CLS] ··\n" in drawn(shown)  # two columns of the zero shade, then two blank ones
    first = next(line for line in drawn(shown, colours="truecolor").split("\n") if "[CLS]" in line)
    assert first.count("48;2;") == 1 and "·" in first


def test_a_fold_says_its_tile_and_how_to_see_the_rest() -> None:
    output = drawn(page(mask(reasons(160))))
    assert "folded 3 × 3 to fit 80 columns: ░ some visible, █ all; a wider terminal or -o" in output
    assert "folded" not in drawn(page(mask(reasons(30))))


@pytest.mark.parametrize("count", [25, 40, 200, 700])
def test_a_mask_with_a_height_fits_it(count: int) -> None:
    output = drawn(page(mask(reasons(count)), title="", subtitle=""), height=24)
    assert output.count("\n") <= 20
    assert "folded" in output


def test_a_mask_a_little_too_high_is_scrolled_and_not_folded() -> None:
    assert "folded" not in drawn(page(mask(reasons(20))), height=24)


def test_a_map_says_that_a_cell_is_the_largest() -> None:
    said = " ".join(drawn(page(heatmap(100))).split())
    assert "each place is the largest of 2 × 2 cells; single values run from 6.5e-31 to 1.0;" in said


def test_all_heads_fit_three_screens_or_the_rest_is_named() -> None:
    small, large = head_grid(6, 12, 20), head_grid(30, 9, 24)
    for grid in (small, large):
        assert drawn(page(grid), height=24, colours="truecolor").count("\n") <= 3 * 24
    assert "not shown" not in drawn(page(small), height=24)
    output = drawn(page(large), height=24)
    left_out = int(re.search(r"(\d+) more rows are not shown", output)[1])  # type: ignore[index]
    assert f"layer='{30 - left_out}-29', or save('file.png')" in " ".join(output.split())
    assert f"layer {30 - left_out - 1}\n" in output


def test_gated_heads_are_marked_in_their_title() -> None:
    output = drawn(GOLDEN_PAGES["heads"])
    assert "h3 ✂" in output and "h1 ×0.25" in output
    assert "h3 cut" in drawn_in_ascii(GOLDEN_PAGES["heads"])


def test_columns_stay_aligned_beside_wide_tokens() -> None:
    lines = [line for line in drawn(GOLDEN_PAGES["wide_tokens"]).split("\n") if "████████" in line]
    assert len(lines) == 4
    assert len({cell_len(line.split("████████")[0]) for line in lines}) == 1


def test_rows_of_padding_queries_are_greyed_and_said() -> None:
    output = drawn(GOLDEN_PAGES["masks"])
    assert "6 [PAD] □ □" in output and "its query is padding" in output


@pytest.mark.parametrize(("value", "digits"), [(0.3, ".30"), (1.0, "1.0"), (4.6, "4.6"), (1234.0, "1234"), (0, "0")])
def test_a_matrix_says_its_numbers_in_two_digits(value: float, digits: str) -> None:
    panel = Matrix("m", "", np.array([[value]], dtype=np.float32), ("layer 0",), ("head 0",), value, "nats")
    assert re.search(rf"layer 0 +{re.escape(digits)}\n", drawn(page(panel)))


def test_a_tiny_number_of_a_matrix_is_not_zero() -> None:
    for panel in (matrix(), signed_matrix()):
        tiny = replace(panel, values=np.full_like(panel.values, -4e-5))
        assert "-4e-5" in drawn(page(tiny))
        assert not re.search(r"layer 0 +0\b", drawn(page(tiny)))


def test_the_sign_of_every_number_is_readable_without_colour() -> None:
    rows = [line for line in drawn(page(signed_matrix())).split("\n") if line.startswith("layer")]
    shown = [word for line in rows for word in line.split()[2:]]
    expected = [value for value in signed_matrix().values.ravel().tolist() if not math.isnan(value)]
    assert [{"+": 1, "-": -1}.get(word[0], 0) for word in shown] == np.sign(expected).tolist()


def test_zero_of_a_centred_matrix_has_the_neutral_colour_and_no_number_none() -> None:
    output = drawn(page(signed_matrix()), colours="truecolor")
    red, green, blue = rgb(hexadecimal(diverging(np.zeros(1))[0]))
    assert re.search(rf"48;2;{red};{green};{blue}m +0 \x1b", output)
    assert output.split("layer 2")[1].split("\n")[0].count("48;2;") == 3  # of four, the last is not there


@pytest.mark.parametrize(("system", "sign"), [("256", "48;5;"), ("standard", "\x1b[31m")])
def test_fewer_colours_still_tell_above_from_below_zero(system: str, sign: str) -> None:
    assert sign in drawn(page(signed_matrix()), colours=system)


def test_a_matrix_too_large_for_numbers_tells_signs_and_holes_by_character() -> None:
    panel = signed_matrix(30, 32)
    for output in (drawn(page(panel)), drawn_in_ascii(page(panel))):
        rows = [line[9:].ljust(64)[::2] for line in output.split("\n") if line.startswith("layer")]
        signs = np.sign(np.nan_to_num(panel.values)).tolist()
        assert [[("'+#".find(c) >= 0) - (",-=".find(c) >= 0) for c in row] for row in rows] == signs
        assert rows[0][0] in "·." and rows[-1][-1] == " "
        assert "30 × 32" in output or "30 x 32" in output


def test_a_huge_matrix_is_folded_to_its_extremes_and_says_so() -> None:
    output = drawn(page(signed_matrix(126, 128)), height=24)
    assert output.count("\n") < 80
    assert "farthest from 0 of 2 × 2 cells" in output and "layer 124-125" in output


def test_a_negative_bar_goes_left_of_zero_and_a_positive_one_right() -> None:
    for output, zero, full in ((drawn(page(bars())), "│", "█"), (drawn_in_ascii(page(bars())), "|", "#")):
        lines = [line for line in output.split("\n") if zero in line]
        sides = [[part.count(full) for part in line.split(zero)] for line in lines]
        assert sides[0][0] == 0 and sides[3][1] == 0
        assert sides[0][1] == pytest.approx(2 * sides[1][1], abs=1)
        assert sides[3][0] == pytest.approx(sides[1][1], abs=1)
        assert len({line.index(zero) for line in lines}) == 1


def test_bars_write_their_intervals_where_they_fit_and_say_where_not() -> None:
    assert re.search(r"\[  0\.40,   0\.70\]", drawn(page(bars())))
    narrow = drawn(page(bars()), 44)
    assert "0.70" not in narrow and "file.png shows the intervals" in narrow


@pytest.mark.parametrize("values", [[0.0], [-1.0], [math.nan], [math.inf, 1.0], [1e-30, -1e30], []])
def test_any_bars_are_drawn(values: list[float]) -> None:
    names = tuple(f"0.{number}" for number in range(len(values)))
    output = drawn(page(Bars("few", "", names, np.array(values, dtype=np.float32), "nats")))
    assert all(name in output for name in names)


def plotted(panel: Curve) -> list[str]:
    """Return the characters of the field, row by row, top first."""
    rows = [re.split("[│┤]", line, maxsplit=1) for line in drawn(page(panel)).split("\n")]
    return [parts[1].ljust(80) for parts in rows if len(parts) == 2]


def straight(values: list[float], low: list[float] | None = None, high: list[float] | None = None) -> Curve:
    """Return a line over 0, 1, 2 ... and a level at 15."""
    ends = [np.array(end, dtype=np.float32) if end is not None else None for end in (low, high)]
    line = CurveLine("line", np.array(values, dtype=np.float32), *ends)
    return Curve("c", "", np.arange(len(values), dtype=np.float32), "x", "y", (line,), 15.0, "top")


def test_a_marker_is_where_its_point_is() -> None:
    field = plotted(straight([0.0, 15.0, 0.0, 5.0]))
    places = [(row, column) for row, line in enumerate(field) for column, c in enumerate(line) if c == "●"]
    width = max(column for _, column in places)
    assert sorted(places, key=lambda place: place[1]) == [
        (15, 0), (0, pytest.approx(width / 3, abs=1)), (15, pytest.approx(2 * width / 3, abs=1)), (10, width),
    ]  # fmt: skip


def test_a_band_covers_what_lies_between_its_ends_and_nothing_else() -> None:
    none = [math.nan] * 3
    field = plotted(straight([*none], [0.0, 5.0, 5.0], [2.0, 10.0, 10.0]))
    right_half = [line[45:70] for line in field]
    for row, line in enumerate(right_half):
        middle = 15.0 * (1 - row / 15)  # value of the middle of a row, within half a row
        if 5.6 < middle < 9.4:
            assert set(line) == {"·"}, row
        if not 4.4 < middle < 10.6:
            assert set(line) <= {" ", "┄"}, row


def test_a_line_is_broken_where_a_point_is_missing() -> None:
    field = plotted(straight([3.0, 3.0, math.nan, 3.0, 3.0]))
    assert field[-1].count("●") == 4
    left, right = re.split(" {30,}", field[-1].rstrip())
    assert left.count("●") == right.count("●") == 2


@pytest.mark.parametrize(
    "panel",
    [
        straight([1.0]),
        straight([math.nan, math.nan]),
        straight([]),
        Curve("c", "", np.array([3.0]), "x", "y", (CurveLine("a", np.array([2.0])),)),
        Curve("c", "", np.zeros(0, dtype=np.float32), "x", "y", ()),
    ],
    ids=["one point", "no point", "empty", "one point alone", "no line"],
)
def test_any_curve_is_drawn(panel: Curve) -> None:
    for output in (drawn(page(panel)), drawn(page(panel), 20, 10), drawn_in_ascii(page(panel))):
        assert "+-" in output or "└" in output


def test_a_line_without_points_says_so() -> None:
    assert "line (no points)" in drawn(page(straight([math.nan] * 4)))


def test_lines_have_markers_of_their_own_without_colour() -> None:
    for output, markers in ((drawn(page(curve())), "●▲■"), (drawn_in_ascii(page(curve())), "ox*")):
        for marker, name in zip(markers, ("by importance", "by norm", "at random"), strict=True):
            assert f"{marker} {name}" in output
            assert output.count(marker) > 3


def test_cross_attention_names_its_keys() -> None:
    keys = (Token("le"), Token("chat"))
    assert "keys: 0 le │ 1 chat" in drawn(page(open_mask(tokens(3), keys)))


def test_an_empty_page_and_empty_panels_are_drawn() -> None:
    assert drawn(Page("", "", ())) == ""
    assert "open mask" in drawn(page(open_mask((), ()), TokenStrip("strip", ()), head_grid(0, 0, 2)))
