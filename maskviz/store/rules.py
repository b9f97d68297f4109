"""Rules to and from JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskviz.core.algebra import AllOf, AnyOf, Everything, Opaque, Rule
from maskviz.core.arrays import Content
from maskviz.core.rules import Band, Causal, Chunk, Document, Itself, Padding, Repositioned, Span, Window

_PLAIN: dict[str, type[Rule]] = {"all": Everything, "causal": Causal, "itself": Itself}


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A rule as a JSON object; `rule_from_json` gives back an equal one."""
    match rule:
        case AllOf(parts):
            return {"all_of": [rule_to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any_of": [rule_to_json(part) for part in parts]}
        case Window(size):
            return {"window": size}
        case Band(reach):
            return {"band": reach}
        case Chunk(size, start):
            return {"chunk": size, "start": start.array.tolist()}
        case Padding(keep, queries):
            return {"keep": keep.array.astype(int).tolist(), "queries": queries}
        case Document(document):
            return {"document": document.array.tolist()}
        case Span(span):
            return {"span": span.array.tolist()}
        case Repositioned(inner, position):
            return {"repositioned": rule_to_json(inner), "position": position.array.tolist()}
        case Opaque(name):
            return {"opaque": name}
    return {"rule": next(name for name, kind in _PLAIN.items() if isinstance(rule, kind))}


def rule_from_json(data: dict[str, Any]) -> Rule:
    """Read what `rule_to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    match data:
        case {"rule": str(name)}:
            return _PLAIN[name]()
        case {"all_of": list(parts)}:
            return AllOf(tuple(map(rule_from_json, parts)))
        case {"any_of": list(parts)}:
            return AnyOf(tuple(map(rule_from_json, parts)))
        case {"window": int(size)}:
            return Window(size)
        case {"band": int(reach)}:
            return Band(reach)
        case {"chunk": int(size), "start": list(start)}:
            return Chunk(size, Content(start, np.int64))
        case {"keep": list(keep), "queries": bool(queries)}:
            return Padding(Content(keep, np.bool_), queries)
        case {"document": list(document)}:
            return Document(Content(document, np.int64))
        case {"span": list(span)}:
            return Span(Content(span, np.int64))
        case {"repositioned": dict(inner), "position": list(position)}:
            return Repositioned(rule_from_json(inner), Content(position, np.int64))
        case {"opaque": str(name)}:
            return Opaque(name)
    raise ValueError(f"no rule: {data!r}")
