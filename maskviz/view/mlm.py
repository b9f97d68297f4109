"""The page of `maskviz mlm`: what a collator selects, what becomes of it, and how often over many seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from maskviz.core.arrays import AnyArray
from maskviz.core.panels.charts import Bars
from maskviz.core.panels.page import Note, Page, Panel, Table, Token, TokenStrip, Tone
from maskviz.core.results.mlm import IGNORED, Draws, Fate, Masked, Recipe
from maskviz.core.writing import plural, printable
from maskviz.view.choosing import text_line

# Texts whose tokens are drawn, tokens whose labels are listed, and tokens of a text that get a bar.
_MOST_TEXTS = 8
_MOST_LABELS = 40
_MOST_BARS = 60
_ROLES = {
    Fate.MASKED: "mask",
    Fate.RANDOM: "replaced",
    Fate.KEPT: "kept",
    Fate.SPECIAL: "special",
    Fate.PADDING: "padding",
}


def mlm_page(masked: Masked, recipe: Recipe, draws: Draws | None, notes: Iterable[str], about: str) -> Page:
    """Build the page: the tokens with what became of each, counts beside what is expected, labels, and many seeds.

    Args:
        masked: The batch under one seed.
        recipe: What is expected.
        draws: Many seeds, or None.
        notes: Sentences the reader must see.
        about: The tokenizer in a line.
    """
    rows = range(min(masked.batch.rows, _MOST_TEXTS))
    panels: list[Panel] = [Note(printable(note), Tone.WARNING) for note in notes]
    if len(rows) < masked.batch.rows:
        panels.append(Note(f"Texts {len(rows) + 1} to {masked.batch.rows} are counted and not drawn.", Tone.QUIET))
    panels += [_strip(masked, rows), Note(_READ, Tone.QUIET), _counts(masked, recipe), _labels(masked)]
    if draws is not None:
        panels.append(_shares(masked, recipe, draws))
        panels += [_bars(masked, recipe, draws, row) for row in rows]
    panels.append(Note("Drawn by DataCollatorForLanguageModeling of transformers itself.", Tone.QUIET))
    texts = masked.batch.texts
    facts = {"text": printable(" | ".join(texts))}
    return Page(text_line(texts) or "masked language modelling", printable(about), tuple(panels), facts)


_READ = "old→new: the token is selected and the model gets new in its place, the same one where it is kept"


def _strip(masked: Masked, rows: range) -> TokenStrip:
    fates = masked.fates
    drawn = tuple(
        tuple(_token(masked, Fate(int(fates[row, place])), row, place) for place in range(masked.batch.length))
        for row in rows
    )
    names = tuple(f"text {row + 1}" for row in rows) if masked.batch.rows > 1 else ()
    return TokenStrip(f"drawn with seed {masked.seed}", drawn, names)


def _token(masked: Masked, fate: Fate, row: int, place: int) -> Token:
    text = masked.batch.tokens[row][place]
    if fate.selected:
        text = f"{text}→{masked.names[row][place].strip() or masked.names[row][place]}"
    return Token(text, _ROLES.get(fate, "text"), place=place)


def _counts(masked: Masked, recipe: Recipe) -> Table:
    fates = masked.fates
    count = {fate: int((fates == fate).sum()) for fate in Fate}
    return Table(
        "what was selected",
        ("", "tokens>", "share>", "of", "expected>"),
        _count_rows(count, recipe),
        f"never selected: {plural(count[Fate.SPECIAL], 'special token')}, {count[Fate.PADDING]:,} of padding",
    )


def _count_rows(count: dict[Fate, int], recipe: Recipe) -> tuple[tuple[str, ...], ...]:
    selected = sum(count[fate] for fate in Fate if fate.selected)
    possible = selected + count[Fate.LEFT]
    parts = (
        ("mask token", Fate.MASKED, recipe.mask),
        ("random token", Fate.RANDOM, recipe.random),
        ("kept", Fate.KEPT, recipe.kept),
    )
    return (
        ("selected", f"{selected:,}", _share(selected, possible), f"{possible:,} tokens", f"{recipe.probability:.1%}"),
        *(
            (word, f"{count[fate]:,}", _share(count[fate], selected), f"{selected:,} selected", f"{share:.1%}")
            for word, fate, share in parts
        ),
    )


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else "none"


def _labels(masked: Masked) -> Panel:
    places = np.argwhere(masked.labels != IGNORED).tolist()
    if not places:
        return Note(f"Nothing is selected: every label is {IGNORED}, and such a row has no loss.")
    rows = tuple(
        (
            str(row + 1),
            str(place),
            f"{masked.batch.tokens[row][place].strip()} ({masked.batch.ids[row, place]})",
            f"{masked.names[row][place].strip()} ({masked.inputs[row, place]})",
            str(masked.labels[row, place]),
        )
        for row, place in places[:_MOST_LABELS]
    )
    left = len(places) - len(rows)
    caption = f"every other label is {IGNORED}, which the loss leaves out"
    if left:
        caption += f"; {plural(left, 'label')} more not listed"
    return Table("labels", ("text>", "token>", "was", "the model gets", "label>"), rows, caption)


def _shares(masked: Masked, recipe: Recipe, draws: Draws) -> Table:
    possible = draws.seeds * int((~masked.special & masked.batch.keep).sum())
    count = {fate: int(array.sum()) for fate, array in draws.counts.items()}
    count[Fate.LEFT] = possible - sum(count.values())
    last = draws.first + draws.seeds - 1
    return Table(
        f"over {plural(draws.seeds, 'seed')}, {draws.first} to {last}",
        ("", "tokens>", "share>", "of", "expected>"),
        _count_rows(count, recipe),
    )


def _bars(masked: Masked, recipe: Recipe, draws: Draws, row: int) -> Bars:
    places = np.flatnonzero(masked.batch.keep[row])
    shown = places[:_MOST_BARS]
    left = len(places) - len(shown)
    more = f"; {plural(left, 'token')} more not drawn" if left else ""
    which = f", text {row + 1}" if masked.batch.rows > 1 else ""

    def of(array: AnyArray) -> AnyArray:
        shares = np.asarray(array[row][shown], np.float32)
        return np.where(masked.special[row][shown], np.float32(np.nan), shares)

    return Bars(
        title=f"how often each token is selected{which}",
        caption=f"share of {plural(draws.seeds, 'seed')}, with its 95% interval; expected {recipe.probability:.1%}; "
        f"special tokens are never selected{more}",
        names=tuple(f"{place} {masked.batch.tokens[row][place].strip()}" for place in shown.tolist()),
        values=of(draws.selected / draws.seeds),
        unit="the share of seeds that select the token",
        low=of(draws.low),
        high=of(draws.high),
    )
