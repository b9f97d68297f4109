"""The page of head importance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from maskviz.analyse.ranking import ranked
from maskviz.core.panels.charts import Bars
from maskviz.core.panels.page import Matrix, Note, Page, Table, Tone
from maskviz.core.results.importance import Effects, Importance, Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure, Method
from maskviz.view.heads.importance import importance_page
from tests.pages_of_heads import CARD, CHANGE, CROSSED, KEY_SITES, TEXTS, importance, notes, only, text_of

# Two heads that matter to every text alike, and six whose effects cancel out.
STEADY = np.array([[0.39, 0.19], [0.40, 0.20], [0.41, 0.21]]) @ np.eye(8)[[0, 5]] + np.outer(
    [-0.1, 0.0, 0.1], [0, 1, 1, 1, 1, 0, 1, 1]
)
GRADIENTS = np.abs(CHANGE)[None] * np.array([[1.0], [2.0], [3.0]])


def page_of_importance(value: Importance, *, top: int = 20, normalise: bool = False) -> Page:
    return importance_page(CARD, ranked(value, normalise=normalise), TEXTS, top=top)


def test_the_page_of_an_importance(golden: Callable[[str, str], None]) -> None:
    golden("importance", text_of(page_of_importance(importance(gradients=GRADIENTS), top=4)))


def test_the_page_of_an_encoder_decoder(golden: Callable[[str, str], None]) -> None:
    golden(
        "importance_stacks", text_of(page_of_importance(importance(CROSSED, ablation=Ablation.RESAMPLE), top=4), 100)
    )


def test_the_page_of_key_heads_by_gradient(golden: Callable[[str, str], None]) -> None:
    gradients = np.array([[0.3, 0.4, 0.0, 0.0]])
    value = importance(KEY_SITES, gradients=gradients, method=Method.GRADIENT, texts=1)
    golden("importance_gradient", text_of(page_of_importance(replace(value, effects=Effects({}, {})), normalise=True)))


@pytest.mark.parametrize(
    ("ablation", "words"),
    [
        (Ablation.ZERO, "its output set to zero, on 3 texts, 13 tokens"),
        (Ablation.MEAN, "its output replaced by that head's mean output over the texts' tokens, on"),
        (Ablation.RESAMPLE, "its output replaced by that head's output on another text, on"),
        (
            Ablation.FROZEN,
            "while the attention patterns of later layers are held as in the plain run (Olsson et al. 2022)",
        ),
    ],
)
def test_the_first_sentence_says_what_stood_in_for_a_head(ablation: Ablation, words: str) -> None:
    page = page_of_importance(importance(ablation=ablation))
    first = next(panel for panel in page.panels if isinstance(panel, Note))
    assert words in first.text
    assert first.text.endswith("change of loss, nats per token.")


def test_a_map_holds_the_mean_of_each_head_at_its_place() -> None:
    matrix = only(page_of_importance(importance()), Matrix)
    assert matrix.values == pytest.approx(CHANGE.reshape(2, 4).astype(np.float32))
    assert matrix.centred
    assert matrix.top == pytest.approx(0.4)
    of_keys = only(page_of_importance(importance(KEY_SITES)), Matrix)
    assert of_keys.column_names == ("key head 0", "key head 1")


def test_colours_end_before_a_score_that_would_make_all_others_pale() -> None:
    value = importance(tuple(Site("decoder", layer, (head,)) for layer in range(10) for head in range(4)))
    loss = np.array(value.effects.changes[Measure.LOSS])
    loss[:, 0] = 100.0
    page = page_of_importance(replace(value, effects=Effects({Measure.LOSS: loss}, {})))
    matrix = only(page, Matrix)
    assert matrix.top == pytest.approx(0.4)
    assert "colours end at 0.400, 1 lie beyond" in matrix.caption


def test_measures_that_cannot_be_negative_have_a_scale_from_zero() -> None:
    value = replace(importance(), measure=Measure.KL)
    assert not only(page_of_importance(value), Matrix).centred
    assert len([panel for panel in page_of_importance(value).panels if isinstance(panel, Bars)]) == 1


def test_bars_are_the_most_important_and_those_that_help_when_removed() -> None:
    page = page_of_importance(importance(), top=3)
    most = only(page, Bars, "the 5 heads that matter most")
    assert most is next(panel for panel in page.panels if not isinstance(panel, Note))
    assert most.names == ("0.0", "1.1", "1.3", "0.3", "0.1")
    assert most.caption.startswith("the intervals of 0 of these lie above zero, of 0 of all 8 heads; if none had any")
    assert "intervals: 95 % confidence" in most.caption
    assert most.low is not None
    # Student's t with two degrees of freedom, on 0.2, 0.4 and 0.6.
    assert most.low[0] == pytest.approx(0.4 - 4.30265 * 0.2 / np.sqrt(3), rel=1e-5)
    helping = only(page, Bars, "help when removed")
    assert len(only(page, Table, "by importance").rows) == 3
    assert helping.names == ("1.2", "0.2")
    assert "2 of 8 heads have a negative mean" in helping.caption
    assert "interval of 0 lies below zero" in helping.caption


def test_intervals_above_zero_are_counted() -> None:
    steady = replace(importance(), effects=replace(importance().effects, changes={Measure.LOSS: STEADY}))
    bars = only(page_of_importance(steady), Bars, "matter most")
    assert bars.low is not None
    assert int((bars.low > 0).sum()) == 2  # heads 0.0 and 1.1: the others have no effect in the mean
    assert bars.caption.startswith("the intervals of 2 of these lie above zero, of 2 of all 8 heads")


def test_heads_that_help_are_not_drawn_twice() -> None:
    page = page_of_importance(importance(), top=8)
    first, helping = only(page, Bars, "matter most"), only(page, Bars, "help when removed")
    assert not set(first.names) & set(helping.names)


def test_one_text_has_no_intervals() -> None:
    page = page_of_importance(importance(texts=1))
    bars = only(page, Bars, "matter most")
    assert bars.low is None
    assert "one text, so no interval" in bars.caption
    assert not any("±" in column for column in only(page, Table).columns)


def test_the_table_ranks_and_shows_every_measure() -> None:
    table = only(page_of_importance(importance(gradients=GRADIENTS), top=2), Table, "heads by importance")
    assert table.columns == ("#>", "head", "loss>", "± 95 %>", "KL>", "flips>", "token rank>", "|dL/d gate|>")
    assert table.rows == (
        ("1", "0.0", "+0.400", "0.497", "0.200", "10.0%", "+4.00", "0.800"),
        ("2", "1.1", "+0.200", "0.248", "0.100", "5.0%", "+2.00", "0.400"),
    )
    assert "6 more are in -o file.json" in table.caption


def test_agreement_is_shown_where_there_are_gradients_beside_exact_changes() -> None:
    page = page_of_importance(importance(gradients=GRADIENTS))
    table = only(page, Table, "does the gradient order them")
    assert table.rows[0][3] == "3 of 4"
    assert table.rows[1] == ("|dL/d gate|", "|change of loss|", "+1.00", "4 of 4")
    assert "over 8 heads" in table.caption
    assert not any("gradient" in getattr(panel, "title", "") for panel in page_of_importance(importance()).panels)


def test_stacks_and_key_heads_are_named() -> None:
    assert only(page_of_importance(importance(CROSSED)), Bars, "matter most").names[0] == "encoder 0.0"
    assert only(page_of_importance(importance(KEY_SITES)), Bars, "matter most").names[0] == "kv:0.0"
    assert "key head silenced alone with all query heads that read it" in notes(
        page_of_importance(importance(KEY_SITES))
    )


def test_what_compensates_is_said_once_and_notes_come_last() -> None:
    page = page_of_importance(replace(importance(), notes=("the model drops tokens",)))
    assert notes(page).count("Hydra") == 1
    assert page.panels[-1] == Note("the model drops tokens", Tone.WARNING)


def test_a_plain_run_without_numbers_is_a_warning() -> None:
    value = importance()
    loss = np.array([2.0, np.nan, 3.0])
    page = page_of_importance(
        replace(value, effects=Effects(value.effects.changes, {Measure.LOSS: loss, Measure.RANK: loss}))
    )
    assert page.panels[0] == Note(
        "Text 2: no loss and no token rank in the plain run; there is nothing to predict, or the outputs are not "
        "numbers (NaN). Means leave it out.",
        Tone.WARNING,
    )


def test_heads_without_a_number_are_counted_and_come_last() -> None:
    value = importance()
    loss = np.array(value.effects.changes[Measure.LOSS])
    loss[:, 0] = np.nan
    page = page_of_importance(replace(value, effects=Effects({Measure.LOSS: loss}, {})))
    assert "No score that is a number: 1 head." in notes(page)
    assert only(page, Table).rows[-1][:3] == ("8", "0.0", "")
    assert "layer 0" in text_of(page)


def test_heads_silenced_all_along_are_named() -> None:
    gates = np.ones((2, 4), np.float32)
    gates[1, 3] = 0
    page = page_of_importance(replace(importance(), base=HeadMask({"decoder": gates})))
    assert "Silenced all along, in the plain run too: 1:3." in notes(page)
    assert page.facts["silenced all along"] == "1:3"


def test_the_title_names_the_texts_and_the_facts_the_command() -> None:
    page = page_of_importance(importance())
    assert page.title == "head importance: The cat sat on the mat. (+2 more)"
    assert page.facts == {"model": "made-up", "text": " | ".join(TEXTS)}
