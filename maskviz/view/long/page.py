"""The page of a long text: pooled maps of every head, which heads stand out, and one head from near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskviz.core.errors import UsageError
from maskviz.core.panels.page import MapRow, Matrix, Note, Page, Panel, Table, Token, TokenStrip, Tone
from maskviz.core.results.long_reading import CallReading, LongReading, RankedHead
from maskviz.core.run.heads import Head, parse_selection
from maskviz.core.run.long import LongTrace, Region
from maskviz.core.run.trace import Batch
from maskviz.core.words import Scale, Stack, Statistic, Way
from maskviz.core.writing import either, parameter, plural, printable, ranges
from maskviz.view.choosing import Choice, card_line, chosen_calls, text_line, tokens_of
from maskviz.view.long.head import SHARES, curves, row_tables
from maskviz.view.long.maps import pooled_grid, pooled_maps, region_grid, region_map
from maskviz.view.masks.symbolic import cost_table, mask_grid

_FIRST_TOKENS, _LAST_TOKENS = 12, 6
_STANDING_OUT = 3
# Lines of a terminal that a first look, and a brief one, takes.
_LINES, _BRIEF_LINES = 60, 24
_STANDING_OUT_WORDS = (
    "Shares of attention where no unit is named. Induction: on keys that follow an earlier token like the query's."
)
_WAYS = {
    Way.BLOCKS: "our own arithmetic on blocks of rows, as far as the mask reaches",
    Way.ROWS: "the model's own eager attention on blocks of rows",
    Way.LAYER: "the model's own attention, a layer at a time",
}


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What of a reading is drawn: the calls of one stack, their heads, a region, and the scale."""

    calls: tuple[CallReading, ...]
    heads: tuple[int, ...]
    region: Region | None
    scale: Scale

    @property
    def one_head(self) -> bool:
        """Whether one head alone is drawn."""
        return len(self.calls) == 1 and len(self.heads) == 1


def long_page(trace: LongTrace, reading: LongReading, choice: Choice) -> Page:
    """Build the page: notes, the text in short, the rules, and attention of the heads that are asked for.

    Args:
        trace: The run.
        reading: What `read_long` says of its row `drawn_row`.
        choice: What of it is drawn.

    Raises:
        UsageError: the choice names a layer, head, stack, text or region that is not there.
    """
    panels: list[Panel] = [Note(note, Tone.WARNING) for note in trace.notes]
    if trace.batch.rows > 1:
        more = f"Text {reading.row + 1} of {trace.batch.rows} is drawn; {either('text=N', '--text N')} draws another."
        panels.append(Note(more, Tone.QUIET))
    panels += short_strips(trace, reading.row)
    panels += mask_panels(reading)
    asked = [_asked(trace, reading, stack, choice) for stack in trace.stacks]
    asked = [each for each in asked if each.calls]
    for each in asked:
        if each.one_head:
            panels += _one_head(trace, each, reading.row)
        else:
            panels += _many_heads(trace, reading, each) if choice.named else _first_look(trace, reading, each)
    if trace.rows and not any(each.one_head for each in asked):
        one = either("layer=L, head=H", "--layer L --head H")
        words = f"The keys of queries {ranges(trace.rows)} are listed for one head: {one}."
        panels.append(Note(words, Tone.QUIET))
    panels.append(Note(_evidence(trace), Tone.QUIET))
    lines = None if choice.named else _BRIEF_LINES if choice.brief else _LINES
    return Page(_title(trace, reading.row, choice), card_line(trace.card), tuple(panels), _facts(trace), lines)


def _asked(trace: LongTrace, reading: LongReading, stack: Stack, choice: Choice) -> _Drawn:
    """What of a stack is drawn; without calls where it is not chosen."""
    chosen = chosen_calls(trace, choice)
    calls = tuple(one for one in reading.calls if one.call in chosen and one.call.stack is stack)
    count = max((one.call.heads for one in calls), default=0)
    heads = parse_selection(choice.heads or "*", count, "head") if calls else ()
    region = _region(trace, choice)
    kept = all(one.region is not None for one in calls)
    return _Drawn(calls, heads, region if kept else None, choice.scale or Scale.LOG)


def short_strips(trace: LongTrace, row: int) -> list[TokenStrip]:
    """The first and the last tokens of a text, and how many there are; of the decoder's too where there is one."""
    sides = [("", trace.batch)]
    if trace.batch.decoder is not None:
        sides = [("encoder ", trace.batch), ("decoder ", trace.batch.decoder)]
    counts = [plural(int(side.keep[row].sum()), "token") for _, side in sides]
    return [
        TokenStrip(f"{name}{count}", (_short(side, row),)) for (name, side), count in zip(sides, counts, strict=True)
    ]


def _short(side: Batch, row: int) -> tuple[Token, ...]:
    left = side.length - _FIRST_TOKENS - _LAST_TOKENS
    if left < 2:
        return tokens_of(side, row, side.length)
    first = tokens_of(side, row, _FIRST_TOKENS)
    last = tokens_of(side, row, _LAST_TOKENS, side.length - _LAST_TOKENS)
    return (*first, Token(f"… {left:,} more", count=left), *last)


def mask_panels(reading: LongReading) -> list[Panel]:
    """One picture and its costs for each distinct rule; rules that cannot be folded in words."""
    panels: list[Panel] = []
    for ruled in reading.masks:
        panels.append(mask_grid(ruled))
        if ruled.cost.sparsity >= 0:  # in a text shorter than its blocks they say nothing
            panels.append(cost_table(ruled))
    if reading.untold:
        panels.append(Table("masks without a picture", ("layers", "rule"), reading.untold))
    return panels


def _many_heads(trace: LongTrace, reading: LongReading, asked: _Drawn) -> list[Panel]:
    panels: list[Panel] = [pooled_grid(trace, asked.calls, asked.heads, asked.scale)]
    if asked.region is not None:
        panels.append(region_grid(trace, asked.calls, asked.heads, reading.row, asked.region, asked.scale))
    stack = f"{asked.calls[0].call.stack.value}: " if len(trace.stacks) > 1 else ""
    panels += (replace(panel, title=f"{stack}{panel.title}") for panel in _matrices(asked))
    panels += (replace(panel, title=f"{stack}{panel.title}") for panel in _standing_out(reading, asked))
    return panels


def _first_look(trace: LongTrace, reading: LongReading, asked: _Drawn) -> list[Panel]:
    """The heads that stand out, the maps of the first by some statistics, and how to see the others."""
    calls = {one.call.layer: one for one in asked.calls}
    stack = asked.calls[0].call.stack
    first: dict[Head, str] = {}
    for statistic in _TELLING:
        ranked = reading.ranked.get((stack, statistic), ())
        if ranked and ranked[0].value > 0:
            first.setdefault(ranked[0].head, f"{SHARES[statistic]} {_worth(ranked[0].value)}")
    maps = [pooled_maps(trace, calls[head.layer], head.head, asked.scale)[0] for head in first]
    top = max((one.top for one in maps), default=1.0)
    name = f"{stack.value} " if len(trace.stacks) > 1 else ""
    panels: list[Panel] = []
    if maps:
        shown = tuple(
            replace(one, title=f"head {head}", caption=words, top=top)
            for one, (head, words) in zip(maps, first.items(), strict=True)
        )
        panels.append(MapRow(f"{name}heads that stand out", "each place: the share on its keys", shown))
    panels += (replace(panel, title=f"{name}{panel.title}") for panel in _standing_out(reading, asked))
    count = plural(sum(one.call.heads for one in asked.calls), "head")
    everything, one = either("show(all=True)", "--all"), either("layer=L, head=H", "--layer L --head H")
    return [*panels, Note(f"{count} in all: {everything} draws each, {one} draws one large.", Tone.QUIET)]


# What tells most of a head that is first by it.
_TELLING = (Statistic.INDUCTION, Statistic.PREVIOUS, Statistic.FIRST)


def _one_head(trace: LongTrace, asked: _Drawn, row: int) -> list[Panel]:
    (one,), (head,) = asked.calls, asked.heads
    panels: list[Panel] = [*pooled_maps(trace, one, head, asked.scale)]
    if asked.region is not None:
        panels.append(region_map(trace, one, head, row, asked.region, asked.scale))
    return [*panels, *curves(trace, one, head), *row_tables(trace, one, head, row)]


_MATRICES = {
    Statistic.FIRST: ("first token, the usual sink", "share of attention"),
    Statistic.PREVIOUS: ("previous token", "share of attention"),
    Statistic.INDUCTION: ("induction, keys after an earlier same token", "share of attention"),
    Statistic.ENTROPY: ("effective number of keys, exp(entropy)", "keys"),
    Statistic.DISTANCE: ("distance, |query - key|", "tokens"),
}


def _matrices(asked: _Drawn) -> list[Matrix]:
    """A number per head for each statistic that tells heads apart: its mean over the text's queries."""
    matrices = []
    for statistic, (title, unit) in _MATRICES.items():
        values = np.full((len(asked.calls), len(asked.heads)), np.nan, dtype=np.float32)
        for line, one in enumerate(asked.calls):
            means = one.effective_keys if statistic is Statistic.ENTROPY else one.means.get(statistic)
            if means is not None:
                inside = [place for place, head in enumerate(asked.heads) if head < one.call.heads]
                values[line, inside] = means[[asked.heads[place] for place in inside]]
        if not np.nanmax(values, initial=0.0) > 0:
            continue
        matrices.append(
            Matrix(
                title=title,
                caption="mean over the queries",
                values=values,
                row_names=tuple(f"layer {one.call.layer}" for one in asked.calls),
                column_names=tuple(f"head {head}" for head in asked.heads),
                top=float(np.nanmax(values)),
                unit=unit,
            )
        )
    return matrices


def _standing_out(reading: LongReading, asked: _Drawn) -> list[Table]:
    """The heads that are first by each statistic, among those that are drawn."""
    drawn = {(one.call.layer, head) for one in asked.calls for head in asked.heads}
    stack = asked.calls[0].call.stack
    rows = []
    for statistic in Statistic:
        ranked = [one for one in reading.ranked.get((stack, statistic), ()) if (one.head.layer, one.head.head) in drawn]
        if not ranked or ranked[0].value <= 0:
            continue
        if statistic is Statistic.ENTROPY:
            rows.append(("lowest entropy, nats", _named(ranked[::-1])))
            rows.append(("highest entropy, nats", _named(ranked)))
        elif statistic is Statistic.DISTANCE:
            rows.append(("farthest, tokens", _named(ranked)))
        else:
            rows.append((SHARES[statistic], _named(ranked)))
    columns = ("by", "head and mean over the queries")
    return [Table("heads that stand out", columns, tuple(rows), _STANDING_OUT_WORDS)] if rows else []


def _named(ranked: Sequence[RankedHead]) -> str:
    return "   ".join(f"{one.head} {_worth(one.value)}" for one in ranked[:_STANDING_OUT])


def _worth(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _region(trace: LongTrace, choice: Choice) -> Region | None:
    """The region to draw: the one asked for, within the one that was kept."""
    asked, kept = choice.region, trace.region
    if asked is None:
        return kept
    if kept is None:
        command = either("maskviz.trace", "'maskviz show'")
        raise UsageError(f"region {asked} was not kept in this run", f"run {command} with {parameter('region')}")
    inside = kept.first_query <= asked.first_query and asked.last_query <= kept.last_query
    if not (inside and kept.first_key <= asked.first_key and asked.last_key <= kept.last_key):
        raise UsageError(f"region {asked} is not within {kept}, which this run kept", "run 'maskviz show' again")
    return asked


def _evidence(trace: LongTrace) -> str:
    ways = " and ".join(_WAYS[way] for way in dict.fromkeys(call.way for call in trace.calls))
    differences = [call.difference for call in trace.calls if call.difference is not None]
    if not differences:
        return f"Computed by {ways}: the weights are the model's own."
    return (
        f"Computed by {ways}; on {plural(trace.sampled, 'sampled row')} of each call it equals the model's own eager "
        f"attention to {max(differences):.1e}."
    )


def _title(trace: LongTrace, row: int, choice: Choice) -> str:
    if choice.title is not None:
        return printable(choice.title)
    own = trace.batch.texts[row : row + 1]
    return text_line(own) or f"attention of {printable(trace.card.name)}"


def _facts(trace: LongTrace) -> dict[str, str]:
    facts = {"model": trace.card.name, "text": text_line(trace.batch.texts)}
    return {name: printable(fact) for name, fact in facts.items() if fact}
