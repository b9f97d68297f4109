"""A mask between two dialects, and the table of the dialects, as pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray
from maskviz.core.checks.dialects import CONVENTIONS, Convention
from maskviz.core.panels.page import LegendEntry, MaskGrid, Matrix, Note, Page, Panel, Table, Token, Tone
from maskviz.core.results.converted import Converted, Written
from maskviz.core.rules.algebra import Grid
from maskviz.core.rules.reasons import Reason, primary, shares
from maskviz.core.writing import either, plural, printable, ranges

# Pictures of one mask; rows and heads that look alike share one.
_DRAWN = 4


def conversion_page(converted: Converted) -> Page:
    """What a mask shows, a picture for each row and head that differs, and what it would be in the other dialect."""
    panels = list(mask_pictures(converted))
    if converted.target is not None:
        panels.append(Note(f"as {converted.target.dialect}: {becomes(converted.target)}"))
    panels += [Note(printable(sentence), Tone.QUIET) for sentence in converted.notes]
    return Page(printable(converted.name), f"{converted.source.dialect}: {becomes(converted.source)}", tuple(panels))


def mask_pictures(converted: Converted) -> tuple[Panel, ...]:
    """What a mask shows: a picture for each row and head that differs, the first few of them."""
    pictures: list[Panel] = list(_pictures(converted))
    left = len(pictures) - _DRAWN
    return (*pictures[:_DRAWN], *((Note(f"and {left} more that differ", Tone.QUIET),) if left > 0 else ()))


def becomes(written: Written) -> str:
    """What a mask is in a file, such as "bool [2, 8], True = blocked"."""
    return f"{written}, {CONVENTIONS[written.dialect].meaning}"


def gates_page(name: str, gates: FloatArray, words: str, written: Written) -> Page:
    """A head mask: its gates, [head] or [layer, head], and the words of --head-mask that say the same."""
    rows = np.atleast_2d(gates)
    table = Matrix(
        title="gates",
        caption="1 keeps a head, 0 silences it",
        values=rows,
        row_names=tuple(f"layer {layer}" for layer in range(len(rows))) if gates.ndim == 2 else ("every layer",),
        column_names=tuple(f"head {head}" for head in range(rows.shape[1])),
        top=1.0,
        unit="gate",
    )
    said = either(f"head_mask={words!r}", f'--head-mask "{words}"') if words else "all heads are kept"
    return Page(printable(name), f"{written.dialect}: {becomes(written)}", (table, Note(said)))


def conventions_page(conventions: Iterable[Convention]) -> Page:
    """The table of the dialects."""
    rows = tuple((one.dialect.value, one.taken_by, one.axes, one.meaning) for one in conventions)
    types = tuple(f"{one.dialect}: {', '.join(one.types)}" for one in conventions if len(one.types) > 1)
    table = Table("dialects", ("dialect", "taken by", "axes", "a number says"), rows)
    return Page(
        "maskviz convert",
        f"{len(rows)} dialects",
        (table, Note("types, the usual one first; all others are bool", Tone.QUIET, types)),
    )


def _pictures(converted: Converted) -> Iterator[MaskGrid]:
    visible = converted.visible
    rows, heads, queries, keys = visible.shape
    reasons = _reasons(converted)
    groups: dict[bytes, list[tuple[int, int]]] = {}
    for row in range(rows):
        for head in range(heads):
            groups.setdefault(visible[row, head].tobytes(), []).append((row, head))
    for places in groups.values():
        row, head = places[0]
        yield MaskGrid(
            title=": ".join(filter(None, (_where(places, rows, heads), _rule_words(converted)))),
            caption=_caption(visible[row, head], reasons[row, head]),
            codes=primary(reasons[row, head]),
            queries=_queries(queries, keys, converted.offset),
            keys=tuple(Token(str(key), place=key) for key in range(keys)),
            meaningless=np.zeros(queries, np.bool_),
            legend=_legend(reasons[row, head], converted.rule.readable),
        )


def _reasons(converted: Converted) -> ByteArray:
    """Why cells are blocked: as the rule says, or for no reason that is known."""
    rows, _, queries, keys = converted.visible.shape
    why: ByteArray = np.full(1, int(Reason.OTHER), np.uint8)
    if converted.rule.readable:
        why = converted.rule.reasons(Grid.of(rows, queries, keys, converted.offset))
    return np.asarray(np.where(converted.visible, 0, np.broadcast_to(why, converted.visible.shape)), np.uint8)


def _legend(reasons: ByteArray, known: bool) -> tuple[LegendEntry, ...]:
    return tuple(
        LegendEntry(int(reason), reason.word if known else "blocked", share)
        for reason, share in shares(reasons).items()
    )


def _rule_words(converted: Converted) -> str:
    return str(converted.rule) if converted.rule.readable else "no known rule"


def _where(places: list[tuple[int, int]], rows: int, heads: int) -> str:
    """Which rows and heads a picture is of; "" where it is of all."""
    if len(places) == rows * heads:
        return ""
    own_rows, own_heads = sorted({row for row, _ in places}), sorted({head for _, head in places})
    of_rows = f"row{'s' if len(own_rows) > 1 else ''} {ranges(row + 1 for row in own_rows)}" if rows > 1 else ""
    of_heads = f"head{'s' if len(own_heads) > 1 else ''} {ranges(own_heads)}"
    if heads == 1 or (len(own_heads) == heads and len(places) == len(own_rows) * heads):
        return of_rows
    if len(places) < len(own_rows) * len(own_heads):
        return f"row {places[0][0] + 1}, head {places[0][1]}, and {plural(len(places) - 1, 'other')}"
    return ", ".join(filter(None, (of_rows, of_heads)))


def _caption(visible: BoolArray, reasons: ByteArray) -> str:
    said = f"{'all' if visible.all() else f'{int(visible.sum()):,}'} of {visible.size:,} cells visible"
    if blind := int((~visible.any(axis=-1)).sum()):
        said += f"; {blind:,} {'query sees' if blind == 1 else 'queries see'} nothing"
    if (reasons & (reasons - (reasons > 0))).any():
        said += "; a cell with several reasons counts for each and is coloured by the first"
    return said


def _queries(queries: int, keys: int, offset: int) -> tuple[Token, ...]:
    if queries == 1 and keys > 1:
        return (Token("every query"),)
    return tuple(Token(str(offset + query), place=offset + query) for query in range(queries))
