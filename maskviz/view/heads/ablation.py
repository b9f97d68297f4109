"""What pages about silenced heads share: the words for what was measured, and sentences on texts and heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import DoubleArray
from maskviz.core.panels.page import Note, Tone
from maskviz.core.results.importance import Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Ablation, Measure
from maskviz.core.writing import plural, printable, ranges
from maskviz.view.choosing import text_line

GRADIENT = "|dL/d gate|"


@dataclass(frozen=True, slots=True)
class Words:
    """What a measure is called.

    Attributes:
        title: In titles, before "without each head".
        unit: In full.
        column: In tables.
        level: What it is called where the plain run has a value of its own, else empty.
        signed: Whether its values may be negative.
    """

    title: str
    unit: str
    column: str
    level: str = ""
    signed: bool = False


WORDS = {
    Measure.LOSS: Words(
        "change of loss", "change of loss, nats per token", "loss", "loss, nats per token", signed=True
    ),
    Measure.KL: Words("KL divergence", "KL divergence from the plain run, nats", "KL"),
    Measure.FLIPS: Words("answers that change", "share of places whose first answer changes", "flips"),
    Measure.RANK: Words(
        "fall of the right token",
        "places by which the right token falls in the ranking",
        "token rank",
        "mean rank of the right token, 1 is the first",
        signed=True,
    ),
    Measure.SCORE: Words("change of the score", "change of the score, up or down", "score"),
    Measure.COSINE: Words("turn of the hidden states", "1 - cosine with the plain run's hidden states", "1 - cos"),
}

_REPLACED = {
    Ablation.ZERO: "{whose} output set to zero",
    Ablation.MEAN: "{whose} output replaced by that head's mean output over the texts' tokens",
    Ablation.RESAMPLE: "{whose} output replaced by that head's output on another text",
    Ablation.FROZEN: "{whose} output set to zero while the attention patterns of later layers are held as in the plain "
    "run (Olsson et al. 2022)",
}


def replaced(ablation: Ablation, whose: str) -> str:
    """What took the place of the output of `whose` heads, such as "its"."""
    return _REPLACED[ablation].format(whose=whose)


def on_texts(tokens: Sequence[int]) -> str:
    """`on 3 texts, 57 tokens`."""
    return f"on {plural(len(tokens), 'text')}, {plural(sum(tokens), 'token')}"


def kind_of(sites: Sequence[Site]) -> str:
    """What sites are called: "head", or "key head"."""
    return "key head" if any(site.key_head is not None for site in sites) else "head"


def site_names(sites: Sequence[Site]) -> list[str]:
    """`0.3` or `kv:0.1`, behind the stack's name where there are several."""
    several = len({site.stack for site in sites}) > 1
    return [f"{site.stack} {site}" if several else str(site) for site in sites]


def number(value: float, *, signed: bool = False) -> str:
    """A number in three significant digits, nothing for NaN."""
    if math.isnan(value):
        return ""
    if value == 0:
        return "0"
    sign = "+" if signed else ""
    return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}#.3g}".rstrip(".")


def measured(value: float, measure: Measure) -> str:
    """A value of a measure as tables show it: shares in percent, losses with their sign; nothing for NaN."""
    if measure is Measure.FLIPS and not math.isnan(value):
        return f"{value:.1%}"
    return number(value, signed=WORDS[measure].signed)


def mean_over_texts(values: DoubleArray) -> DoubleArray:
    """float64 [...] of values float64 [text, ...]; a text with NaN is left out."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: DoubleArray = np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
    return means


def base_sentence(base: HeadMask | None) -> str:
    """What was silenced all along; empty where nothing was."""
    return "" if base is None or not str(base) else f" Silenced all along, in the plain run too: {base}."


def plain_warnings(plain: Mapping[Measure, DoubleArray]) -> list[Note]:
    """A warning for texts whose plain run has no number of some measures."""
    missing: dict[tuple[int, ...], list[str]] = {}
    for measure, values in plain.items():
        texts = tuple(int(index) + 1 for index in np.flatnonzero(np.isnan(values)))
        if texts:
            missing.setdefault(texts, []).append(WORDS[measure].column)
    return [
        Note(
            f"Text {ranges(texts)}: no {' and no '.join(measures)} in the plain run; there is nothing to predict, or "
            "the outputs are not numbers (NaN). Means leave it out.",
            Tone.WARNING,
        )
        for texts, measures in missing.items()
    ]


def title_of(what: str, card: ModelCard, texts: Sequence[str]) -> str:
    """A title of what is shown and of which texts, or of which model where these are not known."""
    return f"{what}: {text_line(texts) or printable(card.name)}"


def facts_of(card: ModelCard, texts: Sequence[str]) -> dict[str, str]:
    """Metadata for files."""
    facts = {"model": card.name, "text": " | ".join(texts)}
    return {name: printable(fact) for name, fact in facts.items() if fact}
