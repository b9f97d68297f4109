"""Masks known by their rules, as pages: pictures of tiles, exact counts, and what attention under them costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskviz.core.panels.page import LegendEntry, MaskGrid, Note, Page, Panel, Table, Token, Tone
from maskviz.core.results.results import Ruled, RuledLayers
from maskviz.core.rules.folding import fold_rule, padding_queries, round_tile
from maskviz.core.rules.folding_cells import by_cells, fold_every_cell
from maskviz.core.writing import plural, printable

# Places along the longer side: as many as a figure has room for, so that a thin band is seen.
_PLACES = 1000


def symbolic_page(ruled: Ruled, title: str | None = None) -> Page:
    """A picture and a table of costs for each rule, what could not be told, and the costs of a whole model.

    Args:
        ruled: At least one rule of runs.
        title: Instead of the model's name or the rule.
    """
    panels: list[Panel] = [panel for layers in ruled.layers for panel in (mask_grid(layers), cost_table(layers))]
    if all(layers.heads for layers in ruled.layers) and sum(layers.layers for layers in ruled.layers) > 1:
        panels.append(_total_table(ruled.layers))
    panels += [Note(sentence, Tone.WARNING) for sentence in ruled.untold]
    panels += [Note(sentence, Tone.QUIET) for sentence in ruled.notes]
    size = ruled.layers[0].cost.size
    length = f"{size.queries:,} × {size.keys:,} tokens" if size.queries != size.keys else plural(size.keys, "token")
    if not ruled.name:
        return Page(printable(title or f"a mask of {length}"), length if title else "", tuple(panels))
    return Page(printable(title or ruled.name), f"{ruled.about} · {length}", tuple(panels))


def mask_grid(ruled: RuledLayers) -> MaskGrid:
    """The mask of a rule in tiles, folded without its cells.

    Raises:
        ValueError: a rule that neither `fold_rule` nor `fold_every_cell` can fold.
    """
    rule, size, count = ruled.cost.rule, ruled.cost.size, ruled.cost.count
    tile = round_tile(max(size.queries, size.keys), _PLACES)
    padding = padding_queries(rule, size)
    codes = fold_rule(rule, size, tile, padding)
    if codes is None and not by_cells(rule, size):
        raise ValueError(f"the rule {rule} has no extents, and too many cells")
    codes = fold_every_cell(rule, size, tile, padding) if codes is None else codes
    share = _percent(100 * count.visible / count.cells) if count.cells else "every query is padding"
    caption = f"{count.visible:,} of {count.cells:,} cells visible, {share}"
    caption += ", padding queries left out" if padding.any() else ""
    if sum(count.blocked.values()) > count.cells - count.visible:
        caption += "; a cell with several reasons counts for each and is coloured by the first"
    return MaskGrid(
        title=f"{ruled.name}: {rule}" if ruled.name else str(rule),
        caption=caption,
        codes=codes,
        queries=_tokens(size.offset, size.queries, tile),
        keys=_tokens(0, size.keys, tile),
        meaningless=np.logical_and.reduceat(padding, np.arange(0, size.queries, tile)),
        legend=tuple(
            LegendEntry(int(reason), reason.word, blocked / count.cells)
            for reason, blocked in sorted(count.blocked.items())
        ),
        tile=tile,
    )


def cost_table(ruled: RuledLayers) -> Table:
    """Cells and operations of the whole square, of the blocks a block-sparse kernel computes, and of the mask."""
    cost, blocks = ruled.cost, ruled.cost.blocks
    computed = (
        ("the whole square", cost.square),
        (f"blocks of {blocks.side} × {blocks.side}", blocks.cells),
        ("visible cells", cost.count.visible),
    )
    rows: list[tuple[str, ...]] = [
        (name, f"{cells:,}", _percent(100 * cells / cost.square)) for name, cells in computed
    ]
    columns = ["computed", "cells>", "of the square>"]
    said = [
        f"blocks: {blocks.full:,} full, {blocks.partial:,} partial, {blocks.empty:,} empty",
        f"sparsity {cost.sparsity:,.4f}%, as FlexAttention's BlockMask counts",
        f"the square as booleans would take {in_units(cost.square, 'B')} and was not built",
    ]
    if ruled.heads is not None:
        priced = [in_units(ruled.heads.operations(cells), "FLOP") for _, cells in computed]
        rows = [(*row, price) for row, price in zip(rows, priced, strict=True)]
        columns.append("operations>")
        size = f"{plural(ruled.heads.heads, 'head')} of width {ruled.heads.width:,}"
        said.append(f"operations are those of QK and PV in one layer, {size}")
    return Table("", tuple(columns), tuple(rows), "; ".join(said))


def in_units(number: float, unit: str) -> str:
    """A number with three digits and the prefix of its size: 1,630,000,000,000 as "1.63 TB"."""
    prefixes = iter(("", "k", "M", "G", "T", "P", "E", "Z", "Y"))
    prefix = next(prefixes)
    while number >= 999.5:
        number, prefix = number / 1000, next(prefixes)
    return f"{number:.3g} {prefix}{unit}"


def _total_table(ruled: Sequence[RuledLayers]) -> Table:
    """The operations of all layers of a model."""
    sums = [0, 0, 0]
    rows = []
    for layers in ruled:
        if layers.heads is None:
            continue
        cost = layers.cost
        cells = (cost.square, cost.blocks.cells, cost.count.visible)
        priced = [layers.layers * layers.heads.operations(number) for number in cells]
        sums = [before + more for before, more in zip(sums, priced, strict=True)]
        rows.append((layers.name, str(layers.layers), *(in_units(number, "FLOP") for number in priced)))
    if len(rows) > 1:
        total = sum(layers.layers for layers in ruled)
        rows.append(("together", str(total), *(in_units(number, "FLOP") for number in sums)))
    columns = ("operations of", "layers>", "the squares>", f"blocks of {ruled[0].cost.blocks.side}>", "visible cells>")
    return Table("all layers", columns, tuple(rows), "QK and PV of one forward pass over one text")


def _percent(percent: float) -> str:
    """A percentage with three digits however small, with six near 100."""
    if abs(percent) >= 100:
        return f"{percent:,.0f}%"
    return f"{percent:.3g}%" if percent < 99.5 else f"{percent:.6g}%"


def _tokens(first: int, count: int, tile: int) -> tuple[Token, ...]:
    """Runs of `tile` tokens from `first` on, named by their first one's number; the last may be shorter."""
    end = first + count
    return tuple(Token(str(at), count=min(tile, end - at), place=at) for at in range(first, end, tile))
