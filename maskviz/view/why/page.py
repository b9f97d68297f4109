"""The page of `maskviz explain`: why a cell, a row or a column is as it is."""

from __future__ import annotations

from collections.abc import Sequence

from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.core.results.why import Attended, Explanation, Place, Stretch
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Mask, Trace
from maskviz.core.writing import either, plural, printable, ranges
from maskviz.view.choosing import (
    Choice,
    axes_of,
    card_line,
    chosen_calls,
    evidence_line,
    page_facts,
    page_title,
    token_strips,
)
from maskviz.view.pictures import layer_words, packing_notes
from maskviz.view.why.conditions import because, change

# Layers whose attention is listed one by one; of more, those that give most.
_MOST_LAYERS = 16
_ALL_MUST = "where several reasons block, all of them would have to change"


def why_page(trace: Trace, explanations: Sequence[Explanation], asked: tuple[Place, int], choice: Choice) -> Page:
    """Build the page of an answer.

    Args:
        trace: The run.
        explanations: The answer, by layers and heads.
        asked: The place, and the row of the batch.
        choice: What was asked about.
    """
    place, row = asked
    panels: list[Panel] = [*packing_notes(trace), *(Note(note, Tone.WARNING) for note in trace.notes)]
    if choice.text is None and trace.batch.rows > 1:
        panels.append(
            Note(
                f"Text 1 of {trace.batch.rows} is asked about; {either('text=N', '--text N')} asks about another.",
                Tone.QUIET,
            )
        )
    panels += token_strips(trace, (row,))
    for one in explanations:
        panels += _answer(trace, one, place, row)
    panels += _elsewhere(trace, explanations, choice)
    panels.append(Note(evidence_line(trace), Tone.QUIET))
    return Page(page_title(trace, choice), card_line(trace.card), tuple(panels), page_facts(trace))


def mask_page(
    file: tuple[str, str],
    mask: Mask,
    answers: Sequence[tuple[tuple[int, ...], tuple[Stretch, ...]]],
    place: Place,
    notes: Sequence[str],
) -> Page:
    """The page of an answer about a mask file.

    Args:
        file: Its title, and its dialect in words.
        mask: The mask.
        answers: The answers of `explain_mask`.
        place: What was asked about.
        notes: Sentences on how the file was read.
    """
    panels: list[Panel] = []
    for heads, stretches in answers:
        where = f"head{'s' if len(heads) > 1 else ''} {ranges(heads)}: " if heads else ""
        names = str(stretches[0].query.first), str(stretches[0].key.first)
        panels.append(_lines_table(stretches, place, names, where, f"rule: {mask.rule}"))
    panels += [Note(printable(sentence), Tone.QUIET) for sentence in notes]
    return Page(printable(file[0]), file[1], tuple(panels))


def _elsewhere(trace: Trace, explanations: Sequence[Explanation], choice: Choice) -> list[Note]:
    """The stacks that were asked about and have no such cells."""
    answered = {one.stack for one in explanations}
    asked = dict.fromkeys(call.stack for call in chosen_calls(trace, choice))
    return [Note(f"{stack} attention has no such cell.", Tone.QUIET) for stack in asked if stack not in answered]


def _answer(trace: Trace, one: Explanation, place: Place, row: int) -> list[Panel]:
    calls = [call for call in trace.of_stack(one.stack) if call.layer in one.layers]
    where = layer_words(trace, calls) + (
        f", head{'s' if len(one.heads) > 1 else ''} {ranges(one.heads)}" if one.heads else ""
    )
    panels: list[Panel] = []
    if one.padding_query:
        panels.append(Note(f"{where}: the query is padding, so what it sees has no meaning.", Tone.QUIET))
    panels.append(_table(trace, one, (place, row), calls[0], where))
    if one.attended and one.stretches[0].visible:
        panels.append(_attention(one.attended))
    return panels


def _table(trace: Trace, one: Explanation, asked: tuple[Place, int], call: AttentionCall, where: str) -> Table:
    place, row = asked
    first = one.stretches[0]
    query, key = (_token(trace, call, row, side, ends.first) for side, ends in enumerate((first.query, first.key)))
    rules = f"rule: {' or '.join(printable(str(rule)) for rule in one.rules)}"
    return _lines_table(one.stretches, place, (query, key), f"{where}: ", rules)


def _lines_table(stretches: tuple[Stretch, ...], place: Place, names: tuple[str, str], where: str, rules: str) -> Table:
    """What is said of the stretches of a place, whose first query and key have these names."""
    first, (query, key) = stretches[0], names
    columns = ("because", "what would have to change")
    if place.query is not None and place.key is not None:
        lines = [line[1:] for line in stretch_lines(first, "")]
        if first.visible:
            return Table(
                f"{where}query {query} may attend to key {key}",
                ("", columns[0]),
                tuple(line[:2] for line in lines),
                rules,
            )
        caption = f"{rules}; {'both' if len(lines) == 2 else 'all'} would have to change" if len(lines) > 1 else rules
        return Table(f"{where}query {query} cannot attend to key {key}", ("", *columns), tuple(lines), caption)
    seen = sum(_size(stretch) for stretch in stretches if stretch.visible)
    count = sum(map(_size, stretches))
    if place.key is None:
        what, side = f"query {query} may attend to {seen:,} of {plural(count, 'key')}", "keys"
    else:
        queries = "1 query" if count == 1 else f"{count:,} queries"
        what, side = f"key {key} may be attended to by {seen:,} of {queries}", "queries"
    rows = [
        line
        for stretch in stretches
        for line in stretch_lines(stretch, str(stretch.key if place.key is None else stretch.query))
    ]
    several = any(len(stretch.conditions) > 1 for stretch in stretches if not stretch.visible)
    return Table(f"{where}{what}", (side, "", *columns), tuple(rows), f"{rules}; {_ALL_MUST}" if several else rules)


def _size(stretch: Stretch) -> int:
    return (stretch.query.last - stretch.query.first + 1) * (stretch.key.last - stretch.key.first + 1)


def _token(trace: Trace, call: AttentionCall, row: int, side: int, number: int) -> str:
    """A token's number and its text, of the query (0) or the key (1) side."""
    token = axes_of(trace, call, row)[side][number - (call.mask.query_offset if side == 0 else 0)]
    text = token.text.strip() or token.text
    return str(number) if text == str(number) else f"{number} {text!r}"


def stretch_lines(stretch: Stretch, numbers: str = "") -> list[tuple[str, str, str, str]]:
    """The lines of a stretch: its numbers, what it is, why, and what would have to change."""
    if stretch.visible:
        lines = _visible_lines(stretch)
    else:
        lines = [(_words(one.reasons) or "not known", because(one), change(one)) for one in stretch.conditions]
        if stretch.untold:
            lines = [line for line in lines if line[0] != "not known"] + [_untold(stretch)]
    return [(numbers if index == 0 else "", *line) for index, line in enumerate(lines)]


def _visible_lines(stretch: Stretch) -> list[tuple[str, str, str]]:
    if not stretch.conditions:
        return [("visible", "the rule blocks nothing", "")]
    if stretch.against_rule:
        against = [because(one) for one in stretch.conditions if one.holds is False]
        return [("visible", f"against the rule, by which it would be blocked: {'; '.join(against)}", "")]
    said = [
        because(one) if one.holds else f"{printable(str(one.rule))}, which could not be read, lets it through"
        for one in stretch.conditions
    ]
    return [("visible" if index == 0 else "", words, "") for index, words in enumerate(said)]


def _untold(stretch: Stretch) -> tuple[str, str, str]:
    unread = [printable(str(one.rule)) for one in stretch.conditions if one.holds is None]
    if unread:
        return _words(stretch.untold), f"blocked by {' or '.join(unread)}, which could not be read", "not known"
    return _words(stretch.untold), "blocked in the mask that was delivered; no rule that was read says why", "not known"


def _words(reasons: Reason) -> str:
    return ", ".join(reason.word for reason in Reason if reason & reasons)


def _attention(attended: Sequence[Attended]) -> Table:
    shown = sorted(attended, key=lambda one: -one.largest)[:_MOST_LAYERS]
    rows = tuple(
        (str(one.layer), f"{one.largest:.3f}", str(one.head), f"{one.mean:.3f}")
        for one in sorted(shown, key=lambda one: one.layer)
    )
    left_out = len(attended) - len(shown)
    caption = f"{plural(left_out, 'layer')} with less not listed" if left_out else ""
    return Table("attention it gets", ("layer>", "largest>", "of head>", "mean of heads>"), rows, caption)
