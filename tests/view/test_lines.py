"""Whose lines are drawn: of the head that was named, of the mean of a layer's, of the one that stands out most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import maskviz
from maskviz.analyse.standing_out import standing_out
from maskviz.api.shown import ShownRun, Trace, choice_of
from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.panels.page import Heatmap, MapRow, TokenLines

TEXT = "the cat saw a dog and the cat saw a bird"


@pytest.fixture(scope="module")
def run() -> Trace:
    return maskviz.trace("demo:gpt", TEXT)


def lines_of(run: Trace, **picture: object) -> list[TokenLines]:
    panels = ShownRun(run.saved(), choice_of({"lines": True, **picture})).page().panels  # type: ignore[typeddict-item]
    assert not any(isinstance(one, MapRow | Heatmap) for one in panels)
    return [one for one in panels if isinstance(one, TokenLines)]


def test_of_a_head_that_is_named(run: Trace) -> None:
    (one,) = lines_of(run, layer=1, head=2)
    pattern = run.calls[1].pattern
    assert pattern is not None
    assert np.array_equal(one.map.values, pattern[0, 2])
    assert np.array_equal(one.map.blocked, ~run.calls[1].mask.visible[0, 0])


def test_of_a_layer_the_mean_of_its_heads(run: Trace) -> None:
    first, second = lines_of(run, layer="0,2")
    for one, layer in ((first, 0), (second, 2)):
        pattern = run.calls[layer].pattern
        assert pattern is not None
        naive = sum(pattern[0, head].astype(np.float64) for head in range(4)) / 4
        assert np.allclose(one.map.values, naive, atol=1e-6)
        assert one.map.title == f"mean of the 4 heads of layer {layer}"


def test_of_nothing_that_is_named_the_head_that_stands_out_most_and_why(run: Trace) -> None:
    (one,) = lines_of(run)
    head = standing_out(run, 0)[0]
    assert one.map.title.startswith(f"head {head.layer}.{head.head}, {head.roles[0].role} {head.roles[0].score:.2f}")


def test_of_each_stack_one() -> None:
    run = maskviz.trace("demo:t5", "Anna has a red ball and a blue ball.", target="ball. red a has Anna")
    assert [one.map.title.split()[0] for one in lines_of(run)] == ["encoder", "decoder", "cross"]


def test_of_a_region_its_part(run: Trace) -> None:
    shown = run.figure(lines=True, layer=1, head=0, region="4:8,2:8")
    texts = [text.get_text() for text in shown.texts] or [
        one.get_text() for one in shown.artists if hasattr(one, "get_text")
    ]
    assert "4 dog" in texts


def test_of_a_what_if_too() -> None:
    run = maskviz.trace("demo:gpt", TEXT, head_mask="1:*")
    panels = ShownRun(run.saved(), choice_of({"lines": True})).page().panels
    assert sum(isinstance(one, TokenLines) for one in panels) == 1


def test_figures_and_files_have_them(run: Trace, tmp_path: Path) -> None:
    assert run.figure(lines=True, layer=0) is not None
    for suffix in ("png", "svg", "pdf", "txt"):
        assert run.save(tmp_path / f"lines.{suffix}", lines=True, layer=0).stat().st_size > 500


@pytest.mark.parametrize("beside", [{"brief": True}, {"only": "mask"}])
def test_what_has_no_lines_is_refused_beside_them(run: Trace, beside: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"lines=.* and .* are given together"):
        run.show(lines=True, **beside)  # type: ignore[arg-type]


def test_without_weights_there_are_none() -> None:
    bare = maskviz.trace("demo:gpt", TEXT, weights=False)
    with pytest.raises(NoWeightsError, match="lines"):
        bare.show(lines=True, layer=0)
