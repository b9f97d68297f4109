"""Pages in the terminal: what a person reads, in every kind of terminal."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from maskviz.core.panels import Matrix, Note, Page, Token, TokenStrip, Tone
from maskviz.core.words import Scale
from maskviz.render.terminal import render
from tests.render.panels_to_draw import (
    WILD,
    head_grid,
    heatmap,
    mask,
    matrix,
    open_map,
    open_mask,
    page,
    reasons,
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


@pytest.mark.parametrize("name", ["masks", "maps", "words", "wide_tokens"])
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
    assert "each cell is the largest of 2 × 2" in drawn(page(heatmap(100)))


def test_all_heads_fit_three_screens_or_the_rest_is_named() -> None:
    small, large = head_grid(6, 12, 20), head_grid(30, 9, 24)
    for grid in (small, large):
        assert drawn(page(grid), height=24, colours="truecolor").count("\n") <= 3 * 24
    assert "not shown" not in drawn(page(small), height=24)
    output = drawn(page(large), height=24)
    left_out = int(re.search(r"(\d+) more rows are not shown", output)[1])  # type: ignore[index]
    assert f"--layer {30 - left_out}-29, or -o file.png" in output
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


@pytest.mark.parametrize(("top", "digits"), [(0.3, "30"), (1.0, "100"), (4.6, "46"), (1234.0, "12")])
def test_a_matrix_says_its_numbers_in_two_digits(top: float, digits: str) -> None:
    panel = Matrix("m", "", np.array([[top]], dtype=np.float32), ("layer 0",), ("head 0",), top, "nats")
    assert re.search(rf"layer 0 +{digits}\b", drawn(page(panel)))


def test_cross_attention_names_its_keys() -> None:
    keys = (Token("le"), Token("chat"))
    assert "keys: 0 le │ 1 chat" in drawn(page(open_mask(tokens(3), keys)))


def test_an_empty_page_and_empty_panels_are_drawn() -> None:
    assert drawn(Page("", "", ())) == ""
    assert "open mask" in drawn(page(open_mask((), ()), TokenStrip("strip", ()), head_grid(0, 0, 2)))
