"""The page of `maskviz heads`: a statistic of every head, the heads in order, what they look like, and their roles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from maskviz.core.arrays import top_value
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import MapRow, Matrix, Note, Page, Panel, Table, Tone
from maskviz.core.results.head_reading import HeadReading, LayerReading
from maskviz.core.results.head_roles import CRITERIA, LEAST_QUERIES, TELLING, TIMES_CHANCE, Criterion, RoleScore
from maskviz.core.run.heads import Head, parse_selection
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import HeadRole, HeadStatistic, Scale, Stack
from maskviz.core.writing import parameter, plural, printable
from maskviz.view.choosing import (
    Choice,
    card_line,
    chosen_calls,
    drawn_row,
    evidence_line,
    page_facts,
    text_line,
    token_strips,
)
from maskviz.view.pictures import heatmap

# What each statistic is called, and its unit.
WORDS = {
    HeadStatistic.ENTROPY: ("entropy", "nats"),
    HeadStatistic.SPREAD: ("entropy / log(visible keys)", "share"),
    HeadStatistic.SINK: ("attention to the first token", "share"),
    HeadStatistic.SPECIAL: ("attention to special tokens", "share"),
    HeadStatistic.PREVIOUS: ("attention to the token before", "share"),
    HeadStatistic.NEXT: ("attention to the token behind", "share"),
    HeadStatistic.ITSELF: ("attention to the token itself", "share"),
    HeadStatistic.DISTANCE: ("mean distance |query - key|", "tokens"),
    HeadStatistic.REACH: ("mean distance / that of uniform attention", "ratio"),
    HeadStatistic.POSITIONAL: ("queries whose largest weight lies at the head's usual offset", "share"),
    HeadStatistic.DUPLICATE: ("attention to the same token elsewhere", "share"),
    HeadStatistic.INDUCTION: ("attention to what followed the same token earlier", "share"),
}

_NOT_THE_OUTPUT = (
    "A role is what attention looks like on these texts, not what the head does for the output: 'maskviz importance' "
    f"silences heads and measures that. Roles need {LEAST_QUERIES} queries, and scores of {TIMES_CHANCE:g} times "
    "chance (but for broad heads)."
)


# Offsets that are listed of a head, and the least share of one.
_OFFSETS, _LEAST_SHARE = 2, 0.05


@dataclass(frozen=True, slots=True)
class HeadsAsked:
    """What of a reading is drawn.

    Attributes:
        choice: Stack, layers, heads, and the text whose maps are drawn; None draws the longest text's.
        by: The statistic of the order and of the map, None for that of the first role somebody has.
        top: How many heads are listed.
        done: What was done before it was read, sentences for the reader.
        units: What a row and a place of it are called.
    """

    choice: Choice
    by: HeadStatistic | None = None
    top: int = 10
    done: tuple[str, ...] = ()
    units: tuple[str, str] = ("text", "token")


@dataclass(frozen=True, slots=True)
class _Listed:
    """One head of a stack, with its layer's reading and call."""

    layer: LayerReading
    call: AttentionCall
    head: int

    @property
    def name(self) -> str:
        return str(Head(self.layer.layer, self.head))

    def value(self, statistic: HeadStatistic) -> tuple[float, float, int]:
        """Mean, chance and queries; NaN and 0 where the layer has no such statistic."""
        one = self.layer.measured.get(statistic)
        if one is None:
            return math.nan, math.nan, 0
        return float(one.mean[self.head]), float(one.chance[self.head]), int(one.queries[self.head])


def heads_page(trace: Trace, reading: HeadReading, asked: HeadsAsked) -> Page:
    """Build the page: for every stack a map of the statistic, the heads in order, their offsets, roles and small maps.

    Args:
        trace: The run.
        reading: What `read_heads` says of it.
        asked: What is drawn.

    Raises:
        UsageError: there is no attention to read, or the choice names what is not there.
    """
    if not reading.layers:
        raise UsageError(
            "there is no attention to read heads of", "it takes weights, and layers with an attention matrix"
        )
    row = drawn_row(trace.batch, asked.choice)
    stacks = [heads for stack in reading.stacks if (heads := _of_stack(trace, reading, stack, asked.choice))]
    by = asked.by or _usual(stacks)
    if all(math.isnan(one.value(by)[0]) for heads in stacks for one in heads):
        what = "no head has a number" if asked.by is None else f"no query has a number for {parameter('by', by)}"
        raise UsageError(what, _no_number(reading))
    panels: list[Panel] = [Note(sentence) for sentence in asked.done]
    panels += [Note(printable(note), Tone.WARNING) for note in (*trace.notes, *_left_out(reading))]
    for heads in stacks:
        panels += _panels_of(trace, heads, asked, by, row)
    panels += [*token_strips(trace, [row]), Note(_counted(reading, asked.units), Tone.QUIET)]
    panels += [Note(_NOT_THE_OUTPUT, Tone.QUIET), Note(evidence_line(trace), Tone.QUIET)]
    return Page(title_of("heads", trace, asked.choice), card_line(trace.card), tuple(panels), page_facts(trace))


def title_of(what: str, trace: Trace, choice: Choice) -> str:
    """The title that was chosen, or what is shown and of which texts."""
    if choice.title is not None:
        return printable(choice.title)
    return f"{what}: {text_line(trace.batch.texts) or printable(trace.card.name)}"


def _of_stack(trace: Trace, reading: HeadReading, stack: Stack, choice: Choice) -> list[_Listed]:
    """The chosen heads of a stack, in order."""
    calls = [call for call in chosen_calls(trace, choice) if call.stack is stack and call.pattern is not None]
    most = max((call.heads for call in calls), default=0)
    chosen = parse_selection(choice.heads or "*", most, "head") if calls else ()
    read = [call for call in trace.calls if call.pattern is not None]
    return [
        _Listed(layer, call, head)
        for call, layer in zip(read, reading.layers, strict=True)
        if call in calls
        for head in chosen
        if head < call.heads
    ]


def _no_number(reading: HeadReading) -> str:
    """What to do where a statistic has no number."""
    if any(layer.undefined.any() for layer in reading.layers):
        return "attention is not a number (NaN) here; 'maskviz show' draws where"
    return (
        "it needs queries that see such a key and another: a longer text, a probe within the window, another statistic"
    )


def _counted(reading: HeadReading, units: tuple[str, str]) -> str:
    texts = f"{plural(len(reading.tokens), units[0])}, {plural(sum(reading.tokens), units[1])}"
    return (
        f"Means over the queries of {texts}: each real query counts once, one that sees a single key not at all. "
        "Chance is what uniform attention over the keys a query sees would give."
    )


def _left_out(reading: HeadReading) -> list[str]:
    undefined = sum(int(layer.undefined.sum()) for layer in reading.layers)
    rest = "that is not numbers (NaN) is left out" if undefined == 1 else "that are not numbers (NaN) are left out"
    return [f"{plural(undefined, 'row')} of attention {rest}"] if undefined else []


def _panels_of(trace: Trace, heads: Sequence[_Listed], asked: HeadsAsked, by: HeadStatistic, row: int) -> list[Panel]:
    """The panels of one stack: what its heads look like, then the order by a statistic and all of them."""
    stack = f"{heads[0].layer.stack}: " if len(trace.stacks) > 1 else ""
    panels: list[Panel] = [*_role_panels(heads, stack)]
    if typical := _typical(heads):
        panels.append(_maps(trace, typical, row, stack, asked.choice.scale or Scale.LINEAR))
    ranked = sorted((one for one in heads if one.value(by)[2]), key=lambda one: -one.value(by)[0])
    if ranked:
        panels += [_ranking(ranked[: asked.top], by, stack), _matrix(heads, by, stack)]
    return panels


def _usual(stacks: Sequence[Sequence[_Listed]]) -> HeadStatistic:
    """What heads are ordered by unless it is said: what the first role that somebody has is decided by."""
    heads = [one for stack in stacks for one in stack]
    roles = {role.role for one in heads for role in one.layer.roles[one.head]}
    by_role = [criterion.statistic for role in TELLING for criterion in CRITERIA if criterion.role is role in roles]
    known = (kind for kind in (*by_role, *_WITHOUT_ROLES) if any(one.value(kind)[2] for one in heads))
    return next(known, HeadStatistic.ENTROPY)


# Without a role the shares on neighbours say most.
_WITHOUT_ROLES = (HeadStatistic.PREVIOUS, HeadStatistic.SINK)


def _matrix(heads: Sequence[_Listed], by: HeadStatistic, stack: str) -> Matrix:
    calls = list(dict.fromkeys(one.call for one in heads))
    columns = sorted({one.head for one in heads})
    values = np.full((len(calls), len(columns)), np.nan, dtype=np.float32)
    for one in heads:
        values[calls.index(one.call), columns.index(one.head)] = one.value(by)[0]
    title, unit = WORDS[by]
    top = float(np.nanmax(values))
    return Matrix(
        title=f"{stack}{title}",
        caption=_resting_on(heads, by),
        values=values,
        row_names=tuple(f"layer {call.layer}" for call in calls),
        column_names=tuple(f"head {head}" for head in columns),
        top=top if top > 0 else 1.0,
        unit=unit,
    )


def _resting_on(heads: Sequence[_Listed], by: HeadStatistic) -> str:
    """On how many queries means rest, and their chance level."""
    known = [(chance, queries) for _, chance, queries in (one.value(by) for one in heads) if queries]
    queries, chances = {queries for _, queries in known}, [chance for chance, _ in known]
    low, high = min(queries), max(queries)
    count = plural(high, "query").replace("querys", "queries") if low == high else f"{low:,} to {high:,} queries"
    first, last = worth(min(chances)), worth(max(chances))
    return f"mean over {count}; chance {first if first == last else f'{first} to {last}'}"


def _ranking(heads: Sequence[_Listed], by: HeadStatistic, stack: str) -> Table:
    rows = []
    for one in heads:
        mean, chance, queries = one.value(by)
        rows.append((one.name, worth(mean), worth(chance), f"{queries:,}", _offsets(one), _roles(one)))
    columns = ("head", f"{by}>", "chance>", "queries>", "key - query", "roles: score (chance)")
    return Table(f"{stack}highest {by}", columns, tuple(rows))


def _offsets(one: _Listed) -> str:
    if not one.layer.offsets:
        return "-"
    places = [place for place in one.layer.offsets[one.head] if place.share >= _LEAST_SHARE][:_OFFSETS]
    return ", ".join(f"{place.offset:+d} {worth(place.share)}".replace("+0 ", "0 ") for place in places) or "-"


def _roles(one: _Listed) -> str:
    return ", ".join(_scored(role.role.value, role) for role in one.layer.roles[one.head]) or "-"


def _scored(name: str, role: RoleScore) -> str:
    """A name with a role's score, and its chance level in brackets."""
    return f"{name} {worth(role.score)} ({worth(role.chance)})"


def worth(value: float) -> str:
    """A statistic as tables show it; "-" where there is none."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _having(heads: Sequence[_Listed], criterion: Criterion) -> list[tuple[_Listed, RoleScore]]:
    """The heads of a role, the most typical first: the highest score, then the lowest chance."""
    found = [(one, role) for one in heads for role in one.layer.roles[one.head] if role.role is criterion.role]
    return sorted(found, key=lambda pair: -pair[1].score)


_MOST_NAMED = 6


def _role_panels(heads: Sequence[_Listed], stack: str) -> list[Panel]:
    """Every role with its heads, its threshold and its source; sinks in a sentence, as those nobody has."""
    rows, without = [], []
    sinks: list[Note] = []
    for criterion in CRITERIA:
        if not any(one.value(criterion.statistic)[2] for one in heads):
            continue
        needs = f"{criterion.statistic} ≥ {criterion.threshold:g}"
        having = _having(heads, criterion)
        if not having:
            without.append(f"{criterion.role} ({needs})")
        elif criterion.role is HeadRole.SINK:
            most, role = having[0]
            count = f"{plural(len(having), 'head')} of {len(heads)}, most of all {_scored(most.name, role)}"
            sinks.append(Note(f"{stack}sink: {count}; needs {needs} ({criterion.source})."))
        else:
            named = [_scored(one.name, role) for one, role in having[:_MOST_NAMED]]
            more = [f"{len(having) - _MOST_NAMED} more"] if len(having) > _MOST_NAMED else []
            rows.append((criterion.role.value, ", ".join([*named, *more]), needs, criterion.source))
    nobody = ", ".join(without)
    if not rows:
        return [*sinks] or [Note(f"{stack}no head has a role, of {nobody or 'those there are'}.")]
    caption = f"no head: {nobody}" if nobody else ""
    return [Table(f"{stack}roles", ("role", "heads: score (chance)", "needs", "source"), tuple(rows), caption), *sinks]


def _typical(heads: Sequence[_Listed]) -> dict[_Listed, list[RoleScore]]:
    """The most typical head of each role that some head has, with its roles; those that say most first."""
    found: dict[_Listed, list[RoleScore]] = {}
    for role in TELLING:
        for criterion in (one for one in CRITERIA if one.role is role):
            for one, score in _having(heads, criterion)[:1]:
                found.setdefault(one, []).append(score)
    return dict(islice(found.items(), _MOST_TYPICAL))


_MOST_TYPICAL = 6


def _maps(trace: Trace, typical: dict[_Listed, list[RoleScore]], row: int, stack: str, scale: Scale) -> MapRow:
    """The maps of the most typical heads on one text."""
    maps = [heatmap(trace, one.call, one.head, row, scale) for one in typical]
    text = f", text {row + 1} of {trace.batch.rows}" if trace.batch.rows > 1 else ""
    top = top_value(one.values[~one.meaningless] for one in maps)
    return MapRow(
        title=f"{stack}the most typical head of each role{text}",
        caption="each row: where one query looks",
        maps=tuple(
            replace(drawn, title=f"head {one.name}", caption=_role_words(roles), top=top)
            for drawn, (one, roles) in zip(maps, typical.items(), strict=True)
        ),
    )


def _role_words(roles: Sequence[RoleScore]) -> str:
    return ", ".join(f"{role.role} {worth(role.score)}" for role in roles)
