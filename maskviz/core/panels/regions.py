"""Reading a region: the part of a map that is drawn at full resolution."""

from __future__ import annotations

import re

from maskviz.core.errors import UsageError
from maskviz.core.run.long import Region

_HINT = "write queries and keys, such as 1000:1200,0:400; an end left out is the text's"


def parse_region(text: str, queries: int, keys: int) -> Region:
    """Read a region such as `1000:1200,0:400`, the queries from 1000 to before 1200 over the keys from 0 to before 400.

    Args:
        text: The region as written; an end that is left out is the first or the last token's.
        queries: Number of queries there are.
        keys: Number of keys there are.

    Raises:
        UsageError: the text does not parse, runs backwards, is empty, or goes beyond the text.
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise UsageError(f"region {text[:60]!r} has {len(parts)} part{'s' if len(parts) > 1 else ''}, not 2", _HINT)
    return Region(*_span(parts[0], queries, "queries"), *_span(parts[1], keys, "keys"))


def _span(part: str, count: int, what: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{0,9})\s*:\s*(\d{0,9})\s*", part)
    if match is None:
        raise UsageError(f"region, {what}: cannot read {part.strip()[:60]!r}", _HINT)
    first, last = int(match[1] or 0), int(match[2] or count)
    if last > count:
        raise UsageError(f"region, {what}: {part.strip()} goes beyond the {count} {what} there are", _HINT)
    if first >= last:
        raise UsageError(f"region, {what}: {part.strip()} holds nothing", "write the smaller number first")
    return first, last
