"""Attention as lines between tokens: which cells have one, in figures, and in words in the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.panels.page import Heatmap, Page, Token, TokenLines
from maskviz.render.fonts import typeface_for
from maskviz.render.image.canvas import Canvas, Ink
from maskviz.render.image.lines import strongest
from maskviz.render.image.page import ONE_COLUMN, figure, image_bytes
from maskviz.render.terminal.page import plain_text

WORDS = ("[CLS]", "the", "cat", "sat", "[PAD]")


def attention(seed: int = 0) -> FloatArray:
    weights = np.random.default_rng(seed).dirichlet(np.full(5, 0.5), 5).astype(np.float32)
    weights[1, 3] = 0.001  # too little for a line
    return weights


def panel(weights: FloatArray | None = None, blocked: BoolArray | None = None) -> TokenLines:
    """Five tokens, the last of them padding, causal."""
    weights = attention() if weights is None else weights
    blocked = ~np.tri(5, dtype=np.bool_) if blocked is None else blocked
    axis = tuple(Token(word, "padding" if word == "[PAD]" else "text", place=at) for at, word in enumerate(WORDS))
    meaningless = np.array([False] * 4 + [True])
    return TokenLines(
        Heatmap(
            "head 0.1",
            "a caption",
            weights,
            blocked,
            axis,
            axis,
            meaningless,
            top=float(weights[:4].max(where=~blocked[:4], initial=0)),
        )
    )


def drawn(one: TokenLines) -> Figure:
    return figure(Page("a", "b", (one,)))


def strands(one: Figure) -> LineCollection:
    (found,) = one.findobj(LineCollection)
    assert isinstance(found, LineCollection)
    return found


def expected_cells(one: TokenLines) -> set[tuple[int, int]]:
    shown = one.map
    return {
        (query, key)
        for query in range(len(shown.queries))
        for key in range(len(shown.keys))
        if not shown.blocked[query, key]
        and not shown.meaningless[query]
        and shown.values[query, key] >= 0.02 * shown.top
    }


@pytest.mark.parametrize("seed", range(4))
def test_each_visible_weight_of_a_real_query_has_a_line_and_no_other_cell(seed: int) -> None:
    one = panel(attention(seed))
    pairs, levels, _ = strongest(one)
    assert set(map(tuple, pairs.tolist())) == expected_cells(one)
    assert (np.diff(levels) >= 0).all(), "the strongest lies on top"


def test_lines_lead_from_query_to_key_and_are_darker_and_thicker_for_more() -> None:
    one = panel()
    found = strands(drawn(one))
    ends = [np.asarray(path.vertices, np.float64)[[0, -1]] for path in found.get_paths()]
    assert len(ends) == len(expected_cells(one))
    pairs = strongest(one)[0]
    down = sorted({round(float(start[1]), 6) for start, _ in ends}, reverse=True)
    for (query, key), (start, end) in zip(pairs.tolist(), ends, strict=True):
        assert start[0] < end[0]
        assert (start[1] > end[1]) == (key > query), (query, key)
    assert len(down) == 4, "queries that are padding have none"
    alphas, widths = np.asarray(found.get_colors())[:, 3], np.asarray(found.get_linewidth())
    weights = one.map.values[tuple(pairs.T)]
    assert (np.diff(weights) >= 0).all()
    assert (np.diff(alphas) >= 0).all()
    assert (np.diff(widths) >= 0).all()
    assert alphas[-1] == pytest.approx(1.0)


def test_where_everything_is_blocked_nothing_is_drawn() -> None:
    one = panel(blocked=np.ones((5, 5), np.bool_))
    assert strands(drawn(one)).get_paths() == []
    assert "sees no key" in plain_text(Page("a", "b", (one,)), 80)


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_lines_are_the_same_bytes(format: str) -> None:
    kind = "png" if format == "png" else "svg" if format == "svg" else "pdf"
    first, second = (image_bytes(Page("a", "b", (panel(),)), kind) for _ in range(2))  # type: ignore[arg-type]
    assert first == second


def test_in_svg_tokens_stay_text() -> None:
    said = image_bytes(Page("a", "b", (panel(),)), "svg").decode()
    for word in WORDS:
        assert said.count(f">{word}<") == 2, word


def test_lines_fit_the_column_of_a_paper() -> None:
    one = panel()
    long = tuple(replace(token, text="a token that is far too long" * 3) for token in one.map.queries)
    wide = TokenLines(replace(one.map, queries=long, keys=long))
    paper = figure(Page("a", "b", (wide,)), layout=ONE_COLUMN)
    assert paper.get_size_inches()[0] == pytest.approx(ONE_COLUMN.width, abs=0.01)
    ends = np.concatenate([np.asarray(path.vertices, np.float64) for path in strands(paper).get_paths()])
    assert 0 < ends[:, 0].min() < ends[:, 0].max() < 1


def test_of_very_many_weights_the_strongest_have_lines() -> None:
    count = 200
    weights = np.random.default_rng(0).uniform(0.5, 1, (count, count)).astype(np.float32)
    axis = tuple(Token(f"t{place}", place=place) for place in range(count))
    blocked = np.zeros((count, count), np.bool_)
    many = TokenLines(Heatmap("a", "b", weights, blocked, axis, axis, np.zeros(count, np.bool_)))
    pairs, _, least = strongest(many)
    kept = weights[tuple(pairs.T)]
    assert kept.min() == np.sort(weights, axis=None)[-len(pairs)] == np.float32(least)


def naive_line(one: TokenLines, query: int) -> str:
    keys = sorted((-float(one.map.values[query, key]), key) for key in range(5) if not one.map.blocked[query, key])
    told = [(key, -weight) for number, (weight, key) in enumerate(keys[:4]) if number == 0 or -weight >= 0.05]
    return ", ".join(f"{key} {WORDS[key]} {weight:.2f}" for key, weight in told)


def test_in_the_terminal_each_query_says_where_it_looks_most() -> None:
    one = panel()
    lines = plain_text(Page("a", "b", (one,)), 80).splitlines()
    for query in range(4):
        assert f"{f'{query} {WORDS[query]}':>7} → {naive_line(one, query)}" in lines
    assert "queries that are padding: 4" in lines
    assert not any(line.startswith("4 [PAD]") for line in lines)


@pytest.mark.parametrize("width", [24, 40, 80])
def test_no_line_of_words_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in plain_text(Page("a", "b", (panel(),)), width).splitlines())


def test_attention_that_is_no_number_is_said_to_be_none_and_draws_no_line() -> None:
    weights = attention()
    weights[2] = np.nan
    one = panel(np.nan_to_num(weights))
    broken = TokenLines(replace(one.map, values=weights))
    assert "2 cat → attention is not a number" in plain_text(Page("a", "b", (broken,)), 80)
    assert not any(query == 2 for query, _ in strongest(broken)[0].tolist())


def test_a_piece_of_a_right_to_left_script_is_drawn_in_its_order() -> None:
    """`##ר` begins at the right: the signs, which are taller than the letter, stand there."""
    assert tallest_half("##ר") == "right"
    assert tallest_half("##x") == "left"


def tallest_half(text: str) -> str:
    drawing = Figure(figsize=(2, 1), dpi=100)
    Canvas(drawing, typeface_for([text])).text(0.5, 0.3, text, Ink(size=24))
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png")
    ink = np.asarray(Image.open(buffer).convert("L")) < 128
    columns = np.flatnonzero(ink.any(axis=0))
    ink = ink[:, columns[0] : columns[-1] + 1]
    tops = np.where(ink.any(axis=0), ink.argmax(axis=0), ink.shape[0])
    left, right = tops[: len(tops) // 4].min(), tops[-len(tops) // 4 :].min()
    return "left" if left < right else "right"


def test_the_ink_of_lines_is_that_of_the_report() -> None:
    from importlib.resources import files

    style = (files("maskviz.render") / "report" / "report.css").read_text("utf-8")
    found = re.search(r"--link: (#\w+);", style)
    assert found is not None
    assert to_rgba(found[1])[:3] == tuple(np.asarray(strands(drawn(panel())).get_colors())[0, :3])
