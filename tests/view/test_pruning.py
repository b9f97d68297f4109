"""The page of a pruning curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from maskviz.core.panels.charts import Curve
from maskviz.core.panels.page import Note, Page, Table, Tone
from maskviz.core.results.pruning import Chosen, Order, Pruning
from maskviz.core.words import Measure, Method
from maskviz.view.heads.pruning import pruning_page
from tests.pages_of_heads import CARD, TEXTS, notes, only, pruning, text_of


def page_of_pruning(value: Pruning) -> Page:
    return pruning_page(CARD, value, TEXTS)


def test_the_page_of_a_pruning(golden: Callable[[str, str], None]) -> None:
    golden("pruning", text_of(page_of_pruning(pruning())))


def test_the_curve_is_the_loss_itself_beside_that_of_the_plain_run() -> None:
    curve = only(page_of_pruning(pruning()), Curve)
    assert curve.x.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert [one.name for one in curve.lines] == ["least important first", "random (2 orders)", "most important first"]
    ranked, random, reverse = curve.lines
    assert ranked.values == pytest.approx([3.0, 3.1, 3.5, 5.0, 8.0])
    assert random.values == pytest.approx([3.0, 4.0, 5.0, 6.1, 8.0])
    assert random.low == pytest.approx([3.0, 3.9, 4.8, 6.0, 8.0])
    assert random.high == pytest.approx([3.0, 4.1, 5.2, 6.2, 8.0])
    assert reverse.low is None
    assert (curve.level, curve.y_name) == (3.0, "loss, nats per token")


def test_measures_without_a_plain_value_are_drawn_as_changes() -> None:
    curve = only(page_of_pruning(replace(pruning(chosen=False), measure=Measure.KL)), Curve)
    assert curve.lines[0].values == pytest.approx([0.0, 0.05, 0.25, 1.0, 2.5])
    assert curve.level is None
    assert curve.y_name == "KL divergence from the plain run, nats"


def test_one_random_order_has_no_band() -> None:
    value = pruning(chosen=False)
    page = page_of_pruning(replace(value, lines=(*value.of(Order.RANKED), value.of(Order.RANDOM)[0])))
    curve = only(page, Curve)
    assert [one.name for one in curve.lines] == ["least important first", "random (1 order)"]
    assert curve.lines[1].low is None
    assert "from>" not in only(page, Table).columns


@pytest.mark.parametrize(
    ("ranked", "tone", "words"),
    [
        (
            [0.0, 0.1, 0.5, 2.0, 5.0],
            Tone.PLAIN,
            "At 3 of 3 steps, removing the least important first loses less than each of 2 random orders, at 0",
        ),
        ([0.0, 0.1, 2.0, 4.0, 5.0], Tone.WARNING, "For the most part this ranking is no better than random."),
        ([0.0, 1.0, 2.0, 4.0, 5.0], Tone.WARNING, "On these texts this ranking is nowhere better than random."),
        (
            [0.0, 1.0, 2.0, 4.0, 5.0],
            Tone.WARNING,
            "loses less than each of 2 random orders, at 1 it loses more; by chance",
        ),
    ],
)
def test_the_verdict_follows_from_the_steps_below_the_whole_band(ranked: list[float], tone: Tone, words: str) -> None:
    """Neither the step that removes nothing nor the one that removes all counts."""
    page = page_of_pruning(pruning(ranked))
    verdict = next(panel for panel in page.panels if isinstance(panel, Note) and "random orders" in panel.text)
    assert words in verdict.text
    assert verdict.tone is tone
    assert ("Budhraja" in verdict.text) == ("nowhere" in verdict.text)


def test_without_random_orders_there_is_no_verdict() -> None:
    value = pruning(chosen=False)
    page = page_of_pruning(replace(value, lines=value.of(Order.RANKED)))
    assert "random" not in notes(page)
    assert len(only(page, Curve).lines) == 1


def test_the_table_has_a_row_for_each_step() -> None:
    table = only(page_of_pruning(pruning()), Table, "heads removed")
    assert table.columns == (
        *("removed>", "share>", "least first>", "random>", "from>", "to>", "most first>"),
        *("KL>", "flips>"),
    )
    assert table.rows[2] == ("4", "50%", "3.50", "5.00", "4.80", "5.20", "7.00", "0.250", "5.0%")
    assert len(table.rows) == 5


def test_a_long_curve_is_listed_at_every_few_steps_and_its_last() -> None:
    value = pruning(chosen=False)
    lines = tuple(
        replace(one, changes={measure: np.repeat(values, 10, axis=1) for measure, values in one.changes.items()})
        for one in value.lines
    )
    table = only(page_of_pruning(replace(value, removed=tuple(range(50)), lines=lines, sites=value.sites * 7)), Table)
    assert [row[0] for row in table.rows] == [*map(str, range(0, 50, 3)), "49"]
    assert "18 of 50 steps" in table.caption


def test_chosen_heads_are_named_in_the_grammar_of_head_masks_with_their_joint_cost() -> None:
    page = page_of_pruning(pruning())
    assert "5 of 8 heads go, 37.5% stay: loses at most 0.7 nats. As a head mask: 0:*; 1:2" in notes(page)
    assert "No head is left in layer 0." in notes(page)
    assert only(page, Table, "what it costs").rows == (
        ("loss, nats per token", "3.00", "3.60", "+0.600"),
        ("share of places whose first answer changes", "", "", "20.0%"),
    )
    assert page.facts["head mask"] == "0:*; 1:2"


def test_no_chosen_head_is_said() -> None:
    value = pruning()
    assert value.chosen is not None
    mask = value.lines[0].masks[0]
    page = page_of_pruning(replace(value, chosen=Chosen(mask, (), 1.0, value.chosen.changes, "loses at most 0 nats")))
    assert "No head goes: loses at most 0 nats." in notes(page)


def test_the_first_sentence_says_how_heads_were_ranked() -> None:
    assert "Ranked by the change of loss when each is silenced alone, once" in notes(page_of_pruning(pruning()))
    by_gradient = notes(page_of_pruning(replace(pruning(), by=Method.GRADIENT, reranked=True)))
    assert "Ranked by |dL/d gate| (Michel et al. 2019), anew at each step." in by_gradient


def test_a_text_without_a_loss_is_left_out_of_the_level_and_said() -> None:
    value = pruning(chosen=False)
    page = page_of_pruning(replace(value, plain={Measure.LOSS: np.array([2.0, np.nan, 3.0])}))
    assert only(page, Curve).level == 2.5
    assert "Text 2: no loss in the plain run" in notes(page)


def test_more_panels_come_last() -> None:
    more = Note("written to folder")
    assert pruning_page(CARD, pruning(), TEXTS, (more,)).panels[-1] is more
