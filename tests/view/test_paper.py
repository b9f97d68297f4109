"""What of a page becomes a paper's figure: pictures, warnings, and a caption that loses nothing that was said."""

from __future__ import annotations

from maskviz.core.panels.page import Note, Page, TokenStrip, Tone
from maskviz.view.paper import for_paper
from tests.render.panels_to_draw import heatmap, tokens


def test_pictures_and_warnings_stay_and_all_other_words_are_in_the_caption() -> None:
    picture, warning = heatmap(5), Note("it overflowed", Tone.WARNING)
    said = (Note("one text"), Note("found", Tone.PLAIN, ("a detail",)), Note("as it ran.", Tone.QUIET))
    facts = {"model": "demo:gpt", "command": "maskviz show", "head mask": "0:1"}
    page = Page("the cat", "GPT", (TokenStrip("tokens", (tokens(3),)), *said, warning, picture), facts)
    made = for_paper(page)
    assert made.panels[:2] == (picture, warning)
    caption = made.panels[2]
    assert isinstance(caption, Note)
    expected = "the cat. GPT. one text. found. a detail. as it ran. Head mask: 0:1. Command: maskviz show."
    assert caption.text == expected
    assert len(made.panels) == 3
    assert made.facts == facts


def test_a_page_without_facts_has_a_caption_all_the_same() -> None:
    made = for_paper(Page("Is it?", "", (Note("an overflow", Tone.WARNING),)))
    assert [panel.text for panel in made.panels if isinstance(panel, Note)] == ["an overflow", "Is it?"]
