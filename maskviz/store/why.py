"""Why cells are visible or blocked as plain values: what each part of the rule says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from maskviz.core.results.why import Condition, Explanation, Place, Stretch
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Mask, Trace


def explanations_to_json(trace: Trace, place: Place, row: int, answers: Sequence[Explanation]) -> dict[str, Any]:
    """The answer about a run, by layers and heads."""
    return {
        "kind": "explanation",
        "model": trace.card.name,
        "text": trace.batch.texts[row] if row < len(trace.batch.texts) else "",
        "row": row,
        "query": place.query,
        "key": place.key,
        "answers": [
            {
                "stack": str(one.stack),
                "layers": list(one.layers),
                "heads": list(one.heads),
                "rules": [str(rule) for rule in one.rules],
                "padding_query": one.padding_query,
                "cells": [_stretch(stretch) for stretch in one.stretches],
                "attention": [
                    {"layer": part.layer, "head": part.head, "largest": part.largest, "mean": part.mean}
                    for part in one.attended
                ],
            }
            for one in answers
        ],
    }


def stretches_to_json(
    name: tuple[str, str],
    mask: Mask,
    place: Place,
    answers: Iterable[tuple[tuple[int, ...], tuple[Stretch, ...]]],
) -> dict[str, Any]:
    """The answer about a mask of no run, by heads."""
    return {
        "kind": "explanation",
        "mask": name[0],
        "dialect": name[1],
        "rule": str(mask.rule),
        "query": place.query,
        "key": place.key,
        "answers": [{"heads": list(heads), "cells": [_stretch(one) for one in cells]} for heads, cells in answers],
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {
        "queries": [stretch.query.first, stretch.query.last],
        "keys": [stretch.key.first, stretch.key.last],
        "visible": stretch.visible,
        "reasons": _words(stretch.reasons),
        "conditions": [_condition(one) for one in stretch.conditions],
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "rule": str(condition.rule),
        "holds": condition.holds,
        "reasons": _words(condition.reasons),
        "needed": condition.needed,
        "parts": [_condition(part) for part in condition.parts],
    }


def _words(reasons: Reason) -> list[str]:
    return [one.word for one in Reason if one & reasons]
