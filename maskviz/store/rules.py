"""Rules to and from JSON."""

from __future__ import annotations

import base64
import math
from dataclasses import fields
from typing import Any

import numpy as np

from maskviz.core.arrays import Content
from maskviz.core.rules.algebra import AllOf, AnyOf, Everything, Opaque, Rule
from maskviz.core.rules.block_kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    Causal,
    Chunk,
    Document,
    Extra,
    Itself,
    Padding,
    Repositioned,
    Span,
    UserMask,
    Window,
)

_NUMBERED: dict[str, type[Window | Band | Ahead | Extra | BlockCausal]] = {
    "window": Window,
    "band": Band,
    "ahead": Ahead,
    "extra": Extra,
    "block": BlockCausal,
}
_PLAIN: dict[str, type[Rule]] = {"all": Everything, "causal": Causal, "itself": Itself}


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A rule as a JSON object; `rule_from_json` gives back an equal one."""
    for name, kind in _NUMBERED.items():
        if isinstance(rule, kind):
            return {name: getattr(rule, fields(rule)[0].name)}
    match rule:
        case AllOf(parts):
            return {"all_of": [rule_to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any_of": [rule_to_json(part) for part in parts]}
        case Chunk(size, start):
            return {"chunk": size, "start": start.array.tolist()}
        case Padding(keep, queries):
            return {"keep": keep.array.astype(int).tolist(), "queries": queries}
        case Document(document):
            return {"document": document.array.tolist()}
        case Span(span):
            return {"span": span.array.tolist()}
        case UserMask(cells):
            bits = base64.b64encode(np.packbits(cells.array).tobytes()).decode()
            return {"user_mask": bits, "shape": list(cells.array.shape)}
        case Repositioned(inner, position):
            return {"repositioned": rule_to_json(inner), "position": position.array.tolist()}
        case Opaque(name, claimed):
            return {"opaque": name} | ({"claimed": claimed} if claimed else {})
    return _with_length(rule) or {"rule": next(name for name, kind in _PLAIN.items() if isinstance(rule, kind))}


def _with_length(rule: Rule) -> dict[str, Any]:
    match rule:
        case Prefix(length):
            return {"prefix": length.array.tolist()}
        case BlockDiffusion(size, length):
            return {"diffusion": size, "length": length}
    return {}


def rule_from_json(data: dict[str, Any]) -> Rule:
    """Read what `rule_to_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    for name, kind in _NUMBERED.items():
        if isinstance(data.get(name), int):
            return kind(data[name])
    match data:
        case {"diffusion": int(size), "length": int(length)}:
            return BlockDiffusion(size, length)
        case {"rule": str(name)}:
            return _PLAIN[name]()
        case {"all_of": list(parts)}:
            return AllOf(tuple(map(rule_from_json, parts)))
        case {"any_of": list(parts)}:
            return AnyOf(tuple(map(rule_from_json, parts)))
        case {"repositioned": dict(inner), "position": list(position)}:
            return Repositioned(rule_from_json(inner), Content(position, np.int64))
        case {"opaque": str(name), **more}:
            return Opaque(name, str(more.get("claimed", "")))
    return _with_array(data)


def _with_array(data: dict[str, Any]) -> Rule:
    match data:
        case {"chunk": int(size), "start": list(start)}:
            return Chunk(size, Content(start, np.int64))
        case {"prefix": list(length)}:
            return Prefix(Content(length, np.int64))
        case {"keep": list(keep), "queries": bool(queries)}:
            return Padding(Content(keep, np.bool_), queries)
        case {"document": list(document)}:
            return Document(Content(document, np.int64))
        case {"span": list(span)}:
            return Span(Content(span, np.int64))
        case {"user_mask": str(bits), "shape": list(shape)}:
            cells = np.unpackbits(np.frombuffer(base64.b64decode(bits, validate=True), np.uint8))
            return UserMask(Content(cells[: math.prod(shape)].reshape(shape), np.bool_))
    raise ValueError(f"no rule: {data!r}")
