"""JSON that a person can read, too: a line for each row of numbers."""

from __future__ import annotations

import json
import math
from typing import Any

_SHORT = 100  # characters


def finite(value: Any) -> Any:
    """The value with null for every number JSON does not know."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def readable_json(value: Any) -> bytes:
    """A value of dicts, lists, strings and numbers as JSON.

    What is short, or holds nothing but strings and numbers, is one line; all else has a line for each part.
    """
    return (_laid_out(finite(value), "") + "\n").encode()


def _laid_out(value: Any, indent: str) -> str:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    line = _dumped(value)
    if len(line) <= _SHORT or not any(isinstance(part, dict | list) for part in parts):
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        lines = [f"{inner}{_dumped(name)}: {_laid_out(part, inner)}" for name, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _laid_out(part, inner) for part in value) + f"\n{indent}]"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
