"""Heads ranked by what silencing them does: ablate and analyse introduced. Imports torch."""

from __future__ import annotations

from maskviz.ablate.effects import Question
from maskviz.ablate.measures import measures_known
from maskviz.cli.examining import Examination
from maskviz.core.arrays import DoubleArray
from maskviz.core.results.importance import Effects, Importance
from maskviz.core.words import Ablation, Measure, Method


def importance_of(
    examination: Examination,
    method: Method,
    ablation: Ablation,
    measure: Measure | None,
    *,
    key_heads: bool = False,
    seed: int = 0,
) -> Importance:
    """Silence every head alone, or take the slopes of the loss at their gates; where there is a loss, the exact ranking
    comes with the slopes beside it.

    Raises:
        UsageError: the measure asked for is not known of every text.
    """
    subject = examination.subject
    sites = subject.sites(key_heads=key_heads)
    wanted = examination.measure(measure)
    effects = Effects({}, {})
    gradients: DoubleArray | None = None
    if method is Method.GRADIENT:
        gradients = examination.slopes(sites)
    else:
        masks = [subject.silenced(site) for site in sites]
        effects = examination.ask(Question(masks, ablation, seed=seed), f"silencing {len(sites)} heads, one by one")
        if Measure.LOSS in measures_known(subject):
            gradients = examination.slopes(sites)
    return Importance(
        sites, effects, gradients, method, wanted, ablation, tokens=examination.tokens, notes=examination.notes
    )
