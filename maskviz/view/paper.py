"""A page as the figure of a paper: its pictures and tables, and one caption with the facts."""

from __future__ import annotations

from dataclasses import replace

from maskviz.core.panels.page import Note, Page, Panel, TokenStrip, Tone


def for_paper(page: Page) -> Page:
    """The pictures and tables of a page, and below them a caption: title, model, what else was said, and the command.

    Warnings stay: a figure that leaves out what must be known is worse than none. Tokens do not: they are on the axes.
    """
    panels: list[Panel] = [panel for panel in page.panels if not isinstance(panel, Note | TokenStrip)]
    notes = [panel for panel in page.panels if isinstance(panel, Note)]
    panels += [note for note in notes if note.tone is Tone.WARNING]
    said = [line for note in notes if note.tone is not Tone.WARNING for line in (note.text, *note.details)]
    facts = [f"{name.capitalize()}: {page.facts[name]}" for name in ("head mask", "command") if name in page.facts]
    caption = " ".join(map(_sentence, filter(None, (page.title, page.subtitle, *said, *facts))))
    return replace(page, panels=(*panels, Note(caption, Tone.QUIET)))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
