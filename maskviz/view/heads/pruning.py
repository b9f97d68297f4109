"""The page of a pruning curve and of the heads chosen to go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskviz.core.arrays import DoubleArray
from maskviz.core.panels.charts import Curve, CurveLine
from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.core.results.pruning import Chosen, Order, Pruning, PruningLine
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Measure, Method
from maskviz.core.writing import plural, printable
from maskviz.view.choosing import card_line
from maskviz.view.heads.ablation import (
    GRADIENT,
    WORDS,
    facts_of,
    kind_of,
    mean_over_texts,
    measured,
    number,
    on_texts,
    plain_warnings,
    replaced,
    title_of,
)

_MOST_ROWS = 21
_TOGETHER = (
    "Heads are removed together here, and later layers make up for some of them (McGrath et al. 2023): what a set of "
    "heads costs is not the sum of what each costs alone."
)


def pruning_page(card: ModelCard, pruning: Pruning, texts: Sequence[str], more: Sequence[Panel] = ()) -> Page:
    """Build the page: what was done, the curve with its controls, the steps as a table, and the heads chosen to go.

    Args:
        card: The model.
        pruning: The curve.
        texts: The texts, for the title and the metadata of files.
        more: Panels on what else was done, such as an export.
    """
    panels: list[Panel] = [Note(_done(pruning)), *plain_warnings(pruning.plain)]
    panels += [_curve(pruning), *_verdict(pruning), _step_table(pruning)]
    if pruning.chosen is not None:
        panels += _chosen_panels(pruning, pruning.chosen)
    panels.append(Note(_TOGETHER, Tone.QUIET))
    panels += [Note(printable(note), Tone.WARNING) for note in pruning.notes]
    facts = facts_of(card, texts)
    if pruning.chosen is not None and str(pruning.chosen.mask):
        facts["head mask"] = str(pruning.chosen.mask)
    return Page(title_of("head pruning", card, texts), card_line(card), (*panels, *more), facts)


def _done(pruning: Pruning) -> str:
    kind = kind_of(pruning.sites)
    with_readers = "" if kind == "head" else " with all query heads that read them"
    if pruning.by is Method.GRADIENT:
        by = f"by {GRADIENT} (Michel et al. 2019)"
    else:
        by = f"by the {WORDS[pruning.measure].title} when each is silenced alone"
    instead = replaced(pruning.ablation, "each one's" if kind == "head" else "each query head's")
    when = "anew at each step" if pruning.reranked else "once, before the first is removed"
    return (
        f"More and more {kind}s{with_readers} removed together, {instead}, "
        f"{on_texts(pruning.tokens)}. Ranked {by}, {when}."
    )


def _values(pruning: Pruning, line: PruningLine) -> DoubleArray:
    """float64 [step], means over texts of the measure where the plain run has a value of it, else of its change."""
    values = line.changes[pruning.measure]
    plain = pruning.plain.get(pruning.measure)
    return mean_over_texts(values if plain is None else values + plain[:, None])


def _random_values(pruning: Pruning) -> DoubleArray:
    """float64 [order, step] of the random orders."""
    lines = [_values(pruning, line) for line in pruning.of(Order.RANDOM)]
    return np.array(lines).reshape(len(lines), len(pruning.removed))


def _curve(pruning: Pruning) -> Curve:
    random = _random_values(pruning)
    lines = [CurveLine(str(line.order), _floats(_values(pruning, line))) for line in pruning.of(Order.RANKED)]
    if len(random):
        band = (_floats(random.min(axis=0)), _floats(random.max(axis=0))) if len(random) > 1 else (None, None)
        lines.append(CurveLine(f"random ({plural(len(random), 'order')})", _floats(random.mean(axis=0)), *band))
    lines += [CurveLine(str(line.order), _floats(_values(pruning, line))) for line in pruning.of(Order.REVERSED)]
    words, plain = WORDS[pruning.measure], pruning.plain.get(pruning.measure)
    caption = f"mean over {plural(len(pruning.tokens), 'text')}"
    if len(random) > 1:
        caption += f"; random is the mean of {len(random)} orders, its band goes from the lowest to the highest of them"
    return Curve(
        title=f"{words.level.partition(',')[0] or words.title} as {kind_of(pruning.sites)}s are removed",
        caption=caption,
        x=_floats(np.array(pruning.removed) / len(pruning.sites)),
        x_name=f"share of {kind_of(pruning.sites)}s removed",
        y_name=words.level if plain is not None else words.unit,
        lines=tuple(lines),
        level=None if plain is None else float(mean_over_texts(plain)),
        level_name="nothing removed",
    )


def _floats(values: DoubleArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.astype(np.float32)


def _verdict(pruning: Pruning) -> list[Panel]:
    """Whether the ranking beats chance: at how many of the steps it lies below every random order."""
    ranked, random = pruning.of(Order.RANKED), _random_values(pruning)
    if not ranked or not len(random):
        return []
    mine = _values(pruning, ranked[0])
    kept = [0 < removed < len(pruning.sites) for removed in pruning.removed]
    judged = np.array(kept) & ~np.isnan(mine) & ~np.isnan(random).any(axis=0)
    steps = int(judged.sum())
    if not steps:
        return []
    below = int((mine < random.min(axis=0))[judged].sum())
    above = int((mine > random.max(axis=0))[judged].sum())
    orders = "the one random order" if len(random) == 1 else f"each of {len(random)} random orders"
    counts = (
        f"At {below} of {plural(steps, 'step')}, removing the least important first loses less than {orders}, at "
        f"{above} it loses more; by chance it would lose less at about {steps / (len(random) + 1):.1f}."
    )
    if not below:
        known = "A large share of heads can often be removed at random (Budhraja et al. 2020)."
        return [Note(f"On these texts this ranking is nowhere better than random. {counts} {known}", Tone.WARNING)]
    if 2 * below < steps:
        return [Note(f"For the most part this ranking is no better than random. {counts}", Tone.WARNING)]
    return [Note(counts)]


def _step_table(pruning: Pruning) -> Table:
    random = _random_values(pruning)
    columns = {
        "removed>": [str(removed) for removed in pruning.removed],
        "share>": [f"{removed / len(pruning.sites):.0%}" for removed in pruning.removed],
    }
    for line in pruning.of(Order.RANKED):
        columns["least first>"] = _levels(pruning, _values(pruning, line))
    if len(random):
        columns["random>"] = _levels(pruning, random.mean(axis=0))
    if len(random) > 1:
        columns |= {"from>": _levels(pruning, random.min(axis=0)), "to>": _levels(pruning, random.max(axis=0))}
    for line in pruning.of(Order.REVERSED):
        columns["most first>"] = _levels(pruning, _values(pruning, line))
    others = _others(pruning)
    for measure, values in others.items():
        columns[f"{WORDS[measure].column}>"] = [measured(value, measure) for value in values.tolist()]
    rows = list(zip(*columns.values(), strict=True))
    shown = sorted({*range(0, len(rows), -(-len(rows) // _MOST_ROWS)), len(rows) - 1})
    words = WORDS[pruning.measure]
    parts = [words.level if pruning.measure in pruning.plain else words.unit]
    parts += ["from, to: the lowest and the highest of the random orders"] if len(random) > 1 else []
    parts += [f"{WORDS[measure].column}: {WORDS[measure].unit}" for measure in others]
    parts += [f"{' and '.join(WORDS[measure].column for measure in others)} with the {Order.RANKED}"] if others else []
    parts += [f"{len(shown)} of {len(rows)} steps, all are in -o file.json"] if len(shown) < len(rows) else []
    return Table(
        f"{kind_of(pruning.sites)}s removed", tuple(columns), tuple(rows[place] for place in shown), "; ".join(parts)
    )


def _others(pruning: Pruning) -> dict[Measure, DoubleArray]:
    """float64 [step] of other measures with the least important first, means over texts."""
    return {
        measure: mean_over_texts(line.changes[measure])
        for line in pruning.of(Order.RANKED)
        for measure in (Measure.KL, Measure.FLIPS)
        if measure in line.changes and measure is not pruning.measure
    }


def _levels(pruning: Pruning, values: DoubleArray) -> list[str]:
    if pruning.measure in pruning.plain:
        return [number(value) for value in values.tolist()]
    return [measured(value, pruning.measure) for value in values.tolist()]


def _chosen_panels(pruning: Pruning, chosen: Chosen) -> list[Panel]:
    kind = kind_of(pruning.sites)
    if not chosen.removed:
        return [Note(f"No {kind} goes: {printable(chosen.why)}.")]
    going = f"{len(chosen.removed)} of {plural(len(pruning.sites), kind)} go, {chosen.kept:.1%} stay"
    empty = _emptied(chosen)
    return [
        Note(f"{going}: {printable(chosen.why)}. As a head mask: {chosen.mask}"),
        *([Note(f"No head is left in {', '.join(empty)}.")] if empty else []),
        _cost_table(pruning, chosen),
    ]


def _emptied(chosen: Chosen) -> list[str]:
    """Layers all of whose heads go."""
    several = len(chosen.mask.gates) > 1
    return [
        f"{f'{stack} ' if several else ''}layer {layer}"
        for stack, table in chosen.mask.gates.items()
        for layer in np.flatnonzero((table == 0).all(axis=1)).tolist()
    ]


def _cost_table(pruning: Pruning, chosen: Chosen) -> Table:
    """What removing the chosen heads together does, as means over texts."""
    rows = []
    for measure, changes in chosen.changes.items():
        change, plain = float(mean_over_texts(changes)), pruning.plain.get(measure)
        before = "" if plain is None else number(float(mean_over_texts(plain)))
        after = "" if plain is None else number(float(mean_over_texts(plain + changes)))
        rows.append(
            (
                WORDS[measure].level if plain is not None else WORDS[measure].unit,
                before,
                after,
                measured(change, measure),
            )
        )
    columns = ("removed together", "before>", "after>", "change>")
    return Table("what it costs", columns, tuple(rows), f"means over {plural(len(pruning.tokens), 'text')}")
