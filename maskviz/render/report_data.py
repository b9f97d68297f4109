"""A report as JSON and deflated arrays, which the page's script reads."""

from __future__ import annotations

import base64
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from maskviz.core.arrays import ByteArray
from maskviz.core.panels.page import Matrix, Note, Panel, Table
from maskviz.core.panels.report import Report, ReportCall, ReportMask
from maskviz.core.rules.reasons import Reason
from maskviz.render.palette import (
    BLOCKED,
    GATE_INK,
    MEANINGLESS,
    NOT_A_NUMBER,
    REASONS,
    SOME,
    VISIBLE,
    WARNING_INK,
    hexadecimal,
    sequential,
)
from maskviz.render.quantised import Ladder, deflated, ladder_for

# Bytes the deflated attention may take, so that a file with it in base64 stays below 5 MB.
_MOST = 3_560_000


class _Numbered:
    """Things that are stored once and named by their number."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, thing: Hashable) -> int:
        """The number of a thing, a new one where it is met first."""
        if thing not in self._numbers:
            self._numbers[thing] = len(self.found)
            self.found.append(thing)
        return self._numbers[thing]


def report_data(report: Report) -> tuple[dict[str, Any], list[str]]:
    """A report as values fit for JSON, and its arrays: raw deflate in base64, named by their numbers.

    A mask's array holds the reasons of one text, uint8 [1 or head, query, key]; a pattern's the numbers of its levels;
    that of a pattern before a head mask the difference to it, modulo 256.
    """
    patterns = [one for call in report.calls for one in (call.pattern, call.before) if one is not None]
    ladder = ladder_for(patterns, _MOST)
    arrays, axes, views = _Numbered(), _Numbered(), _Numbered()
    data: dict[str, Any] = {
        "title": report.title,
        "subtitle": report.subtitle,
        "texts": report.texts,
        "facts": list(report.facts.items()),
        "notes": [_panel(one) for one in report.notes],
        "evidence": report.evidence,
        "findings": [_panel(one) for one in report.findings],
        "changes": [_panel(one) for one in report.changes],
        "asked": [_panel(one) for one in report.asked],
        "heads": [
            {"call": one.call, "head": one.head, "roles": [[*role] for role in one.roles], "standsOut": one.stands_out}
            for one in report.heads
        ],
        "roles": report.roles,
        "opens": asdict(report.opens),
        "masks": [_mask(mask, arrays) for mask in report.masks],
        "calls": [_call(call, axes, views) for call in report.calls],
        "look": _look(),
        "levels": [round(float(one), 7) for one in ladder.levels],
        "errors": [round(float(one), 7) for one in ladder.errors],
        "largestError": _largest_error(patterns, ladder),
    }
    contents = list(arrays.found)
    for entry, call in zip(data["calls"], report.calls, strict=True):
        contents += _add_patterns(entry, call, ladder, len(contents))
    data["axes"] = [[[token.text, token.role, token.place] for token in axis] for axis in axes.found]
    data["views"] = [{"queries": queries, "keys": keys, "real": real} for queries, keys, real in views.found]
    with ThreadPoolExecutor() as pool:  # zlib works beside other threads
        return data, list(pool.map(_packed, contents))


def _packed(content: bytes) -> str:
    return base64.b64encode(deflated(content)).decode("ascii")


def _mask(mask: ReportMask, arrays: _Numbered) -> dict[str, Any]:
    _, heads, queries, keys = mask.reasons.shape
    return {
        "rule": mask.rule,
        "agrees": mask.agrees,
        "offset": mask.query_offset,
        "heads": heads,
        "queries": queries,
        "keys": keys,
        "rows": [
            {"array": arrays.number(reasons.tobytes()), "clause": clause}
            for reasons, clause in zip(mask.reasons, mask.clauses, strict=True)
        ],
    }


def _call(call: ReportCall, axes: _Numbered, views: _Numbered) -> dict[str, Any]:
    return {
        "stack": call.stack,
        "layer": call.layer,
        "module": call.module,
        "heads": call.heads,
        "keyHeads": call.key_heads,
        "mask": call.mask,
        "gates": call.gates,
        "tops": [round(top, 7) for top in call.tops],
        "views": [
            views.number((axes.number(queries), axes.number(keys), "".join("01"[int(one)] for one in real)))
            for queries, keys, real in zip(call.queries, call.keys, call.real, strict=True)
        ],
    }


def _add_patterns(entry: dict[str, Any], call: ReportCall, ladder: Ladder, first: int) -> list[bytes]:
    """Name the arrays of a call's patterns in its entry, and return them."""
    if call.pattern is None:
        return []
    after = ladder.codes(call.pattern)
    found = [one.tobytes() for one in after]
    entry["pattern"] = list(range(first, first + len(found)))
    if call.before is not None:
        change: ByteArray = ladder.codes(call.before) - after  # wraps around, as the page does
        entry["before"] = list(range(first + len(found), first + 2 * len(found)))
        found += [one.tobytes() for one in change]
    return found


def _largest_error(patterns: Sequence[Any], ladder: Ladder) -> float:
    """How far a weight of these is at most from the level it was rounded to."""
    largest = 0.0
    table = np.append(ladder.levels, np.full(256 - len(ladder.levels), np.nan)).astype(np.float32)
    for pattern in patterns:
        for one in pattern:  # a text at a time: the difference is as large as what it is of
            errors = table[ladder.codes(one)]
            errors -= one
            np.abs(errors, out=errors)
            largest = max(largest, float(np.fmax.reduce(errors, axis=None, initial=0.0)))
    return round(largest + 5e-7, 6) if largest else 0.0


def _look() -> dict[str, Any]:
    """The colours and words of every other format."""
    scale = sequential(np.linspace(0.0, 1.0, 256))
    return {
        "scale": [hexadecimal(one) for one in scale],
        "reasons": [{"bit": int(one), "word": one.word, "fill": REASONS[one].fill} for one in Reason],
        "visible": VISIBLE.fill,
        "some": SOME.fill,
        "meaningless": MEANINGLESS.fill,
        "blocked": BLOCKED.fill,
        "notANumber": NOT_A_NUMBER.fill,
        "gate": GATE_INK,
        "warning": WARNING_INK,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    """A panel as data: notes, tables and matrices, the latter as tables."""
    match panel:
        case Note():
            return {"kind": "note", "text": panel.text, "tone": panel.tone.value, "details": panel.details}
        case Table():
            return {
                "kind": "table",
                "title": panel.title,
                "columns": panel.columns,
                "rows": panel.rows,
                "caption": panel.caption,
            }
        case Matrix():
            return {
                "kind": "matrix",
                "title": panel.title,
                "caption": panel.caption,
                "rowNames": panel.row_names,
                "columnNames": panel.column_names,
                "top": panel.top,
                "values": [[None if np.isnan(one) else round(float(one), 4) for one in row] for row in panel.values],
            }
    raise TypeError(f"a report has no {type(panel).__name__}")
