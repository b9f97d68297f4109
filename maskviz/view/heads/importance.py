"""The page of head importance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from maskviz.core.arrays import DoubleArray
from maskviz.core.panels.charts import Bars
from maskviz.core.panels.page import Matrix, Note, Page, Panel, Table, Tone
from maskviz.core.results.importance import Site
from maskviz.core.results.ranking import Estimate, Ranking
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Measure, Method
from maskviz.core.writing import plural, printable
from maskviz.view.choosing import card_line
from maskviz.view.heads.ablation import (
    GRADIENT,
    WORDS,
    base_sentence,
    facts_of,
    kind_of,
    measured,
    number,
    on_texts,
    plain_warnings,
    replaced,
    site_names,
    title_of,
)

# Sites that are seen at a glance.
_AT_A_GLANCE = 5
# Sites whose removal helps that are drawn: the most negative ones.
_MOST_HELPING = 5
# Share of sites without any effect whose 95 % interval lies below zero by chance.
_BY_CHANCE = 0.025
# Colours end at this quantile where the largest score is so many times as far: else one head makes all others pale.
_USUAL, _FAR = 0.95, 3

_COMPENSATION = (
    "Later layers make up for a silenced head (self-repair; McGrath et al. 2023, 'The Hydra Effect'), so a low score "
    "is no proof that a head has no role. Scores do not add up: what several heads do together is measured by the "
    "pruning curve, which removes them together."
)


def importance_page(
    card: ModelCard,
    ranking: Ranking,
    texts: Sequence[str],
    more: Sequence[Panel] = (),
    *,
    top: int = 20,
) -> Page:
    """Build the page: the sites that matter most and how sure that is, what was done, all scores, the order as a table.

    Args:
        card: The model.
        ranking: The scores in order.
        texts: The texts, for the title and the metadata of files.
        more: Panels on what else was asked of the model, drawn behind the ranking.
        top: How many sites are listed.
    """
    importance = ranking.importance
    panels: list[Panel] = [*plain_warnings(importance.effects.plain)]
    unknown = int(np.isnan(ranking.scores.mean).sum())
    if unknown:
        what = plural(unknown, kind_of(importance.sites))
        panels.append(Note(f"No score that is a number: {what}. They come last.", Tone.WARNING))
    panels += [_glance(ranking), *_matrices(ranking)]
    panels.append(_table(ranking, top))
    panels += _helping(ranking)
    if ranking.agreements:
        panels.append(_agreement_table(ranking))
    panels += more
    panels += [Note(_done(ranking)), Note(_COMPENSATION, Tone.QUIET)]
    panels += [Note(printable(note), Tone.WARNING) for note in importance.notes]
    facts = facts_of(card, texts)
    if importance.base is not None:
        facts["silenced all along"] = str(importance.base)
    return Page(title_of("head importance", card, texts), card_line(card), tuple(panels), facts)


def _by_gradient(ranking: Ranking) -> bool:
    return ranking.importance.method is Method.GRADIENT and ranking.importance.gradients is not None


def _signed(ranking: Ranking) -> bool:
    return not _by_gradient(ranking) and WORDS[ranking.importance.measure].signed


def _unit(ranking: Ranking) -> str:
    unit = GRADIENT if _by_gradient(ranking) else WORDS[ranking.importance.measure].unit
    return f"{unit}, divided by the L2 norm of its layer" if ranking.normalised else unit


def _done(ranking: Ranking) -> str:
    importance = ranking.importance
    kind, where = kind_of(importance.sites), on_texts(importance.tokens)
    base = base_sentence(importance.base)
    normalised = ", divided by the L2 norm of its layer" if ranking.normalised else ""
    if kind == "head":
        silenced = f"every head silenced alone, {replaced(importance.ablation, 'its')}"
    else:
        whose = replaced(importance.ablation, "each query head's")
        silenced = f"every key head silenced alone with all query heads that read it, {whose}"
    if not _by_gradient(ranking):
        words = WORDS[importance.measure].unit
        return f"{silenced[0].upper()}{silenced[1:]}, {where}; {words}{normalised}.{base}"
    exact = f" Beside it: {silenced}." if importance.effects.changes else " No head was silenced for it."
    said = f"How steeply the loss answers to the gate of each {kind} while all gates are open, {where}"
    return f"{said}; {GRADIENT}, mean over texts (Michel et al. 2019){normalised}.{exact}{base}"


def _matrices(ranking: Ranking) -> list[Matrix]:
    stacks = list(dict.fromkeys(site.stack for site in ranking.importance.sites))
    sizes = np.abs(ranking.scores.mean[np.isfinite(ranking.scores.mean)])
    top, usual = (float(np.quantile(sizes, share)) if sizes.size else 0.0 for share in (1, _USUAL))
    if 0 < usual * _FAR < top:
        top = usual
    return [_matrix(ranking, stack if len(stacks) > 1 else "", top or 1.0) for stack in stacks]


def _table_of(ranking: Ranking, stack: str) -> tuple[list[int], DoubleArray]:
    """The layers of a stack, "" for all, and its mean scores float64 [layer, site], NaN where there is none."""
    places = {site: place for place, site in enumerate(ranking.importance.sites) if stack in ("", site.stack)}
    layers = sorted({site.layer for site in places})
    values = np.full((len(layers), max(site.column for site in places) + 1), np.nan)
    for site, place in places.items():
        values[layers.index(site.layer), site.column] = ranking.scores.mean[place]
    return layers, values


def _matrix(ranking: Ranking, stack: str, top: float) -> Matrix:
    layers, values = _table_of(ranking, stack)
    beyond = int((np.abs(values) > top).sum())
    kind = kind_of(ranking.importance.sites)
    of_each = f"each {stack} {kind}" if stack else f"each {kind}"
    by_gradient = _by_gradient(ranking)
    title = f"{GRADIENT} of {of_each}" if by_gradient else f"{_word_of(ranking)} without {of_each}"
    return Matrix(
        title=title,
        caption=_over_texts(ranking.scores)
        + (f"; colours end at {number(top)}, {beyond} lie beyond" if beyond else ""),
        values=values.astype(np.float32),
        row_names=tuple(f"layer {layer}" for layer in layers),
        column_names=tuple(f"{kind} {column}" for column in range(values.shape[1])),
        top=top,
        unit=_unit(ranking),
        centred=_signed(ranking),
    )


def _word_of(ranking: Ranking) -> str:
    return WORDS[ranking.importance.measure].title


def _over_texts(scores: Estimate) -> str:
    texts = int(scores.texts.max(initial=0))
    return "one text" if texts == 1 else f"mean over {texts} texts, each weighing the same"


def _glance(ranking: Ranking) -> Bars:
    """The sites that matter most, and how sure that is."""
    kind, first = kind_of(ranking.importance.sites), ranking.order[:_AT_A_GLANCE]
    which = f"{len(first)} {kind}s that matter" if len(first) > 1 else f"{kind} that matters"
    return _bar_list(f"the {which} most", f"{_sure(ranking, first)}; {_interval(ranking.scores)}", first, ranking)


def _sure(ranking: Ranking, first: Sequence[int]) -> str:
    """For how many sites the interval leaves no doubt that they matter."""
    count, low = plural(len(ranking.order), kind_of(ranking.importance.sites)), ranking.scores.low
    if np.isnan(low).all() or not _signed(ranking):
        return f"of {count}"
    surely = int((low[list(first)] > 0).sum())
    whole = int((low > 0).sum())
    chance = f"if none had any effect, about {_BY_CHANCE * len(low):.1f} would by chance"
    return f"the intervals of {surely} of these lie above zero, of {whole} of all {count}; {chance}"


def _helping(ranking: Ranking) -> list[Bars]:
    """The sites without which the texts go better, behind those that matter most."""
    kind, order, means = kind_of(ranking.importance.sites), ranking.order, ranking.scores.mean
    negative = [place for place in range(len(means)) if means[place] < 0]
    helping = [place for place in reversed(order[_AT_A_GLANCE:]) if means[place] < 0][:_MOST_HELPING]
    if not _signed(ranking) or not helping:
        return []
    words = f"{len(negative)} of {plural(len(means), kind)} have a negative mean; the lowest are shown"
    if not np.isnan(ranking.scores.high).all():
        below = int((ranking.scores.high < 0).sum())
        words += (
            f". The interval of {below} lies below zero; if no {kind} had any effect, "
            f"about {_BY_CHANCE * len(means):.1f} would by chance"
        )
    return [_bar_list(f"{kind}s that help when removed", words, helping, ranking)]


def _bar_list(title: str, caption: str, places: Sequence[int], ranking: Ranking) -> Bars:
    names, scores, chosen = site_names(ranking.importance.sites), ranking.scores, list(places)
    known = not np.isnan(scores.low[chosen]).all()
    return Bars(
        title=title,
        caption=caption,
        names=tuple(names[place] for place in chosen),
        values=scores.mean[chosen].astype(np.float32),
        unit=_unit(ranking),
        low=scores.low[chosen].astype(np.float32) if known else None,
        high=scores.high[chosen].astype(np.float32) if known else None,
    )


def _interval(scores: Estimate) -> str:
    texts = int(scores.texts.max(initial=0))
    if texts < 2:
        return "one text, so no interval: how far this holds for other texts is not known"
    return f"intervals: 95 % confidence of the mean by Student's t over {texts} texts; other kinds of text may differ"


def _table(ranking: Ranking, top: int) -> Table:
    kind, others = kind_of(ranking.importance.sites), _others(ranking)
    columns = _columns(ranking, others)
    rows = tuple(tuple(cell(place) for cell in columns.values()) for place in ranking.order[:top])
    return Table(f"{kind}s by importance", tuple(columns), rows, _caption(ranking, others, top))


def _others(ranking: Ranking) -> list[Measure]:
    """Measures that the ranking does not go by."""
    by = None if _by_gradient(ranking) else ranking.importance.measure
    return [measure for measure in ranking.changes if measure is not by]


def _columns(ranking: Ranking, others: Sequence[Measure]) -> dict[str, Callable[[int], str]]:
    """Titles of the table's columns, and what each says of a site."""
    importance, scores = ranking.importance, ranking.scores
    names, by_gradient = site_names(importance.sites), _by_gradient(ranking)
    score = GRADIENT if by_gradient else WORDS[importance.measure].column
    columns: dict[str, Callable[[int], str]] = {
        "#>": lambda place: str(ranking.order.index(place) + 1),
        kind_of(importance.sites): lambda place: names[place],
        f"{score}>": lambda place: _score(ranking, float(scores.mean[place])),
    }
    if not np.isnan(scores.low).all():
        columns["± 95 %>"] = lambda place: _score(ranking, float(scores.high[place] - scores.mean[place])).lstrip("+")
    for measure in others:
        columns[f"{WORDS[measure].column}>"] = _cell(ranking.changes[measure], measure)
    gradients = ranking.gradients
    if gradients is not None and not by_gradient:
        columns[f"{GRADIENT}>"] = lambda place: number(float(gradients.mean[place]))
    return columns


def _cell(estimate: Estimate, measure: Measure) -> Callable[[int], str]:
    return lambda place: measured(float(estimate.mean[place]), measure)


def _score(ranking: Ranking, value: float) -> str:
    if _by_gradient(ranking) or ranking.normalised:
        return number(value, signed=_signed(ranking))
    return measured(value, ranking.importance.measure)


def _caption(ranking: Ranking, others: Sequence[Measure], top: int) -> str:
    importance = ranking.importance
    parts = [] if _by_gradient(ranking) else [_meaning(importance.measure)]
    parts += [_meaning(measure) for measure in others]
    if importance.gradients is not None:
        parts.append(f"{GRADIENT}: Michel et al. 2019")
    left = len(importance.sites) - top
    if left > 0:
        parts.append(f"{left} more are in -o file.json")
    return "; ".join(parts)


def _meaning(measure: Measure) -> str:
    return f"{WORDS[measure].column}: {WORDS[measure].unit}"


def _agreement_table(ranking: Ranking) -> Table:
    sites: tuple[Site, ...] = ranking.importance.sites
    word, top = WORDS[ranking.importance.measure].column, ranking.agreements[0].top
    rows = tuple(
        (
            one.one,
            one.other.replace("change", f"change of {word}" if word != "KL" else word),
            "none" if math.isnan(one.correlation) else f"{one.correlation:+.2f}",
            f"{round(one.overlap * top)} of {top}",
        )
        for one in ranking.agreements
    )
    return Table(
        "does the gradient order them as silencing does?",
        ("by gradient", "by silencing", "Spearman's rank correlation>", f"top {top} in common>"),
        rows,
        f"over {plural(len(sites), kind_of(sites))}; 1 is the same order, 0 no likeness; two orders drawn at random "
        f"would have {top * top / len(sites):.1f} of {top} in common",
    )
