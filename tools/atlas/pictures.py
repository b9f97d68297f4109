"""Masks small enough to draw 417 types of them on one page: a run-length string for each."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import numpy as np

from maskviz.analyse.likeness import NotComparableError, without_content
from maskviz.core.arrays import ByteArray
from maskviz.core.rules.algebra import Leaf, Rule
from maskviz.core.rules.reasons import Reason, primary
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import printable, ranges

# The module that a rule names where it could not be read.
_PLACE = re.compile(r"(?<=opaque\()[^:()]+: ")
# Queries and keys that are drawn, the first ones.
SIDE = 16
# A letter for each reason a cell is blocked for, and for one that is visible.
LETTERS = {0: "v"} | {int(reason): letter for reason, letter in zip(Reason, "pfwcdsuo", strict=True)}


def kinds_of(trace: Trace, words: dict[tuple[str, int], tuple[str, str]] | None = None) -> list[dict[str, Any]]:
    """The distinct masks of a run, told apart by their rules where these are read, each with its layers and picture.

    Args:
        trace: A run of one text without padding.
        words: What a layer is called, and its window, by stack and layer; None where nothing calls them anything.
    """
    groups: dict[tuple[Stack, str, str], list[AttentionCall]] = {}
    for call in trace.calls:
        rule = call.mask.rule
        seen = "" if rule.readable else picture(call.mask.reasons[0, 0])
        groups.setdefault((call.stack, _said(rule), seen), []).append(call)
    kinds = []
    for (stack, said, _), calls in groups.items():
        layers = sorted({call.layer for call in calls})
        called, window = (words or {}).get((stack.value, layers[0]), ("", ""))
        kinds.append(
            {
                "stack": stack.value,
                "layers": ranges(layers),
                "count": len(layers),
                "rule": printable(said),
                "is": called,
                "window": window,
                "read": calls[0].mask.rule.readable,
                "reasons": _reasons(calls[0].mask.rule),
                "perHead": calls[0].mask.visible.shape[1] > 1,
                "picture": picture(calls[0].mask.reasons[0, 0]),
            }
        )
    return kinds


def silent_of(trace: Trace) -> list[dict[str, Any]]:
    """Layers without a mask to show, by stack and by what they are."""
    groups: dict[tuple[str, str], list[int]] = {}
    for layer in trace.silent:
        groups.setdefault((layer.stack.value, layer.kind), []).append(layer.layer)
    return [
        {"stack": stack, "layers": ranges(layers), "count": len(set(layers)), "is": kind}
        for (stack, kind), layers in groups.items()
    ]


def rules_of(trace: Trace) -> dict[str, str]:
    """The rules of a run that are read, each once, with what is left of each for a text of real tokens alone."""
    rules = {}
    for call in trace.calls:
        try:
            rules[printable(str(call.mask.rule))] = printable(str(without_content(call.mask.rule)))
        except NotComparableError:
            continue
    return rules


def _said(rule: Rule) -> str:
    """A rule in words, without the module that one which could not be read is of."""
    return _PLACE.sub("", str(rule))


def _reasons(rule: Rule) -> list[str]:
    """The reasons for which the parts of a rule block, each once."""
    leaves = [leaf for leaf in rule.leaves() if isinstance(leaf, Leaf)]
    return list(dict.fromkeys(leaf.reason.word for leaf in leaves if leaf.readable and not leaf.exception))


def picture(reasons: ByteArray) -> str:
    """The first cells of reasons [query, key] as "16x16:" and letters with how often they follow each other."""
    cells = primary(reasons)[:SIDE, :SIDE]
    runs = ((LETTERS[int(code)], len(list(run))) for code, run in groupby(cells.ravel().tolist()))
    text = "".join(f"{letter}{count}" if count > 1 else letter for letter, count in runs)
    return f"{cells.shape[0]}x{cells.shape[1]}:{text}"


def drawn(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 [query, key] of `picture`: the lowest reason of each cell, 0 where it is visible."""
    size, _, runs = text.partition(":")
    rows, columns = map(int, size.split("x"))
    codes = {letter: code for code, letter in LETTERS.items()}
    cells: list[int] = []
    place = 0
    while place < len(runs):
        end = place + 1
        while end < len(runs) and runs[end].isdigit():
            end += 1
        cells += [codes[runs[place]]] * int(runs[place + 1 : end] or 1)
        place = end
    return np.array(cells, np.uint8).reshape(rows, columns)
