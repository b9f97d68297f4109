"""What the interactive view shows first, and that nothing it says is cut without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskviz
from maskviz.analyse.standing_out import standing_out
from maskviz.analyse.why import explain
from maskviz.api.shown import Trace
from maskviz.core.results.results import LossDiff
from maskviz.core.results.why import Explanation, Place
from maskviz.core.run import trace as core
from maskviz.core.words import Role
from maskviz.explore.app import Answers, Explorer
from maskviz.explore.key_line import key_text
from maskviz.store.archive import read_npz
from maskviz.store.saved import Saved
from maskviz.view.explore import change_lines, loss_sentence, telling_cell
from maskviz.view.pictures import why_words

TEXT = "the cat saw a dog and the cat saw a bird and the dog saw a bird in the house"
SIZES = [(80, 24), (110, 40), (60, 20)]


@pytest.fixture(scope="module")
def run() -> Trace:
    return maskviz.trace("demo:gpt", TEXT)


def why(trace: core.Trace, call: core.AttentionCall, cell: tuple[int, int, int, int]) -> Sequence[Explanation]:
    row, head, query, key = cell
    return explain(trace, [call], Place(query + call.mask.query_offset, key), row, [head])


def screen(
    saved: Saved, size: tuple[int, int], keys: Sequence[str] = (), click: tuple[int, int] | None = None
) -> list[str]:
    """The lines of the screen after some keys, and a click."""

    async def drawn() -> list[str]:
        app = Explorer(saved, Answers(why, None, "a saved run", standing_out))
        async with app.run_test(size=size) as pilot:
            await pilot.press(*keys)
            if click is not None:
                await pilot.click(offset=click)
            await pilot.pause(0.1)
            strips = app.screen._compositor.render_strips()
            return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    return asyncio.run(drawn())


@pytest.mark.parametrize("size", SIZES)
def test_it_starts_at_the_head_that_stands_out_most_and_says_why(run: Trace, size: tuple[int, int]) -> None:
    first = standing_out(run, 0)[0]
    assert (first.layer, first.head) != (0, 0), "else this shows nothing"
    said = "\n".join(screen(run.saved(), size))
    assert f"head {first.layer}.{first.head}: attention" in said
    assert f"stands out: {why_words(first)}"[: size[0] // 2] in said


def test_n_goes_from_one_head_that_stands_out_to_the_next_and_round(run: Trace) -> None:
    heads = standing_out(run, 0)
    for presses in range(len(heads) + 1):
        one = heads[presses % len(heads)]
        said = "\n".join(screen(run.saved(), (110, 40), ["n"] * presses))
        assert f"head {one.layer}.{one.head}: attention" in said
        assert f"stands out: {why_words(one)}" in said


def test_a_head_that_does_not_stand_out_says_where_one_is(run: Trace) -> None:
    first = standing_out(run, 0)[0]
    said = "\n".join(screen(run.saved(), (110, 40), ["comma", "right_square_bracket"]))
    assert f"n: {first.layer}.{first.head}, which stands out" in said


@pytest.mark.parametrize("model", ["demo:gpt", "demo:bert"])
def test_the_cell_worth_reading_is_the_largest_that_is_not_first_special_or_itself(model: str) -> None:
    run = maskviz.trace(model, TEXT)
    roles = run.batch.roles[0]
    for call in run.calls:
        assert call.pattern is not None
        for head in range(call.heads):
            places = [
                (float(call.pattern[0, head, query, key]), query, key)
                for query in range(run.batch.length)
                for key in range(1, run.batch.length)
                if call.mask.visible[0, 0, query, key]
                and query != key
                and Role.SPECIAL not in (roles[query], roles[key])
            ]
            query, key = telling_cell(run, call, 0, head)
            assert (call.pattern[0, head, query, key], query, key)[0] == max(places)[0]


@pytest.mark.parametrize("tokens", [1, 2])
def test_where_no_cell_is_worth_more_the_largest_is_read(tokens: int) -> None:
    run = maskviz.trace("demo:gpt", ids=[[5] * tokens])
    query, key = telling_cell(run, run.calls[0], 0, 0)
    assert 0 <= key <= query < tokens
    bare = replace(run.calls[0], pattern=None)
    assert telling_cell(replace(run, calls=(bare,)), bare, 0, 0) == (tokens - 1, tokens - 1)


@given(st.integers(0, 120), st.lists(st.tuples(st.sampled_from(["?", "[ ]", "space"]), st.text("abc/", max_size=9))))
def test_no_key_in_the_last_line_is_cut(width: int, keys: list[tuple[str, str]]) -> None:
    line = key_text(keys, width).plain
    assert len(line) <= width
    assert line == "  ".join(f"{key} {does}" for key, does in keys[: line.count("  ") + bool(line)]) or not line


@pytest.mark.parametrize("size", [*SIZES, (40, 12)])
def test_the_last_line_has_whole_keys_and_help_before_all(run: Trace, size: tuple[int, int]) -> None:
    last = screen(run.saved(), size)[-1]
    assert last.startswith("? help  q quit  [ ] layer")
    assert len(last) <= size[0]
    words = ("help", "quit", "layer", "head", "stands out", "mask", "log", "picture")
    assert [part.split(" ")[-1] for part in last.split("  ")] == [
        one.split(" ")[-1] for one in words[: last.count("  ") + 1]
    ]
    assert size[0] < 80 or last.endswith("g picture"), "at 80 columns all of them fit"


def test_a_key_in_the_last_line_can_be_clicked(run: Trace) -> None:
    last = screen(run.saved(), (80, 24))[-1]
    said = "\n".join(screen(run.saved(), (80, 24), click=(last.index("mask"), 23)))
    assert ": mask" in said
    layer = standing_out(run, 0)[0].layer
    for sign, to in (("[", max(0, layer - 1)), ("]", min(2, layer + 1))):
        assert f"head {to}." in "\n".join(screen(run.saved(), (80, 24), click=(last.index(sign), 23)))


def test_a_map_that_goes_on_says_where(run: Trace) -> None:
    queries = run.batch.length
    whole = "\n".join(screen(run.saved(), (140, 50)))
    assert "more" not in whole
    top = screen(run.saved(), (80, 24), ["up"] * 30)
    (cue,) = [line for line in top if line.endswith(" more")]
    hidden = int(cue.split("↓")[1].split()[0])
    shown = [
        at
        for at in range(queries)
        if any(f" {at} {run.batch.tokens[0][at].strip()} " in f"{line} " for line in top[3:-6])
    ]
    assert hidden == queries - len(shown)
    assert "↑" not in cue
    bottom = screen(run.saved(), (80, 24), ["down"] * 30)
    (cue,) = [line for line in bottom if line.endswith(" more")]
    assert "↑" in cue
    assert "↓" not in cue


def test_heads_that_go_on_say_where() -> None:
    from tests.reports import trace_of

    lines = screen(Saved(trace_of(layers=60, heads=40)), (80, 24))
    cues = [line for line in lines if "more" in line]
    assert any("↓" in line and "→" in line for line in cues)


def test_the_loss_is_a_sentence(tmp_path: Path) -> None:
    assert loss_sentence(LossDiff(0, 9, 3.17, 4.11), several=False) == (
        "loss of the text 3.17 → 4.11 nats per token (+0.94)"
    )
    path = maskviz.trace("demo:gpt", [TEXT, "a dog saw"], head_mask="0:3").save(tmp_path / "run.npz")
    saved = read_npz(path)
    assert saved.change is not None
    said = change_lines(saved.trace, saved.change, str)
    for loss in saved.change.losses:
        assert loss_sentence(loss, several=True) in said
    assert not any("loss before" in line for line in said)
    assert np.isfinite(saved.change.losses[0].after)


def test_words_that_are_cut_say_how_many_more_there_are(tmp_path: Path) -> None:
    path = maskviz.trace("demo:gpt", [TEXT, "a dog saw"], head_mask="0:3").save(tmp_path / "run.npz")
    lines = screen(read_npz(path), (60, 24))
    assert any(line.startswith("↓ ") and line.endswith("'maskviz show' has all") for line in lines)
