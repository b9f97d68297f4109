"""The Python that builds a mask anew, where its rule is known: three lines for torch, or a mask_mod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maskviz.core.algebra import AllOf, Everything, Rule
from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.block_rules import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.recognise import recognise
from maskviz.core.rules import Band, Causal, Chunk, Padding, Window


@dataclass(frozen=True, slots=True)
class Known:
    """A mask whose rule is known.

    Attributes:
        rule: The rule; explains every cell.
        shape: Rows, heads, queries and keys of the mask.
        offset: Position of the first query.
    """

    rule: Rule
    shape: tuple[int, int, int, int]
    offset: int


def known(visible: BoolArray) -> Known | None:
    """The rule of a mask, if it is causal, a window, chunks, blocks, a prefix, block diffusion, padding at the ends
    of rows, or some of these; else None.

    Queries are taken to be the last of the keys, and where that explains nothing, the first.

    Args:
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend.
    """
    rows, heads, queries, keys = visible.shape
    if heads > 1 and (visible != visible[:, :1]).any():
        return None
    for offset in dict.fromkeys((max(0, keys - queries), 0)):
        rule = recognise(visible[:, :1], None, offset)
        if rule.readable and all(_sayable(part) for part in _parts(rule)):
            return Known(rule, (rows, 1, queries, keys), offset)
    return None


def lines_of(found: Known) -> str:
    """Three lines that build `visible`, bool and broadcastable to the mask's shape, True = may attend: the mask of
    scaled_dot_product_attention."""
    _, _, queries, keys = found.shape
    first = f"{found.offset}, {found.offset + queries}" if found.offset else f"{queries}"
    parts = [said for part in _parts(found.rule) for said in _comparisons(part, "query", _column)]
    cells = _all(parts) or f"torch.ones({queries}, {keys}, dtype=torch.bool)"
    return f"import torch\nquery, key = torch.arange({first})[:, None], torch.arange({keys})\nvisible = {cells}\n"


def mask_mod_of(found: Known) -> str:
    """Python with a `mask_mod` for flex_attention and the `block_mask` made of it."""
    rows, _, queries, keys = found.shape
    tables: list[str] = []

    def looked_up(numbers: IntArray) -> str:
        name = f"table_{len(tables)}"
        tables.append(f"{name} = torch.tensor({numbers.tolist()}, device=device)  # of each row of the batch")
        return f"{name}[batch]"

    query = f"(query + {found.offset})" if found.offset else "query"
    parts = [said for part in _parts(found.rule) for said in _comparisons(part, query, looked_up)]
    body = _all(parts) or "key >= 0"
    several = rows if tables else None
    return "\n".join(
        (
            "import torch",
            "from torch.nn.attention.flex_attention import create_block_mask",
            "",
            'device = "cpu"  # that of your queries and keys',
            *tables,
            "",
            "",
            "def mask_mod(batch, head, query, key):",
            f"    return {body}",
            "",
            "",
            f"block_mask = create_block_mask(mask_mod, {several}, None, {queries}, {keys}, device=device)",
            "",
        )
    )


def _parts(rule: Rule) -> tuple[Rule, ...]:
    if isinstance(rule, Everything):
        return ()
    return rule.parts if isinstance(rule, AllOf) else (rule,)


def _sayable(rule: Rule) -> bool:
    if isinstance(rule, Padding):
        return not rule.queries and all(len(_ends(row)) == 2 for row in rule.keep.array)
    return isinstance(rule, Causal | Window | Band | Chunk | BlockCausal | Prefix | BlockDiffusion)


def _comparisons(rule: Rule, query: str, of_rows: Callable[[IntArray], str]) -> tuple[str, ...]:
    """A rule as comparisons of `query` and `key` that all hold where it lets a query see a key.

    Args:
        rule: One that can be said.
        query: The query's position in Python.
        of_rows: Says a number that differs between the rows of the batch.
    """

    def said(numbers: IntArray) -> str:
        return str(int(numbers[0])) if (numbers == numbers[0]).all() else of_rows(numbers)

    match rule:
        case Causal():
            return (f"key <= {query}",)
        case Window(size):
            return (f"{query} - key < {size}",)
        case Band(reach):
            return (f"({query} - key).abs() <= {reach}",)
        case Chunk(size, start):
            first = said(start.array)
            shift = "" if first == "0" else f" - {first}"
            return (f"({query}{shift}) // {size} == (key{shift}) // {size}",)
        case BlockCausal(size):
            return (f"key // {size} <= {query} // {size}",)
        case Prefix(length):
            return (f"(key < {said(length.array)}) | (key <= {query})",)
        case BlockDiffusion():
            return (_of_diffusion(rule, query),)
        case Padding(keep):
            ends = np.array([_ends(row) for row in keep.array])
            left = (f"key >= {said(ends[:, 0])}",) if ends[:, 0].any() else ()
            right = (f"key < {said(ends[:, 1])}",) if (ends[:, 1] < keep.array.shape[1]).any() else ()
            return (*left, *right)
    raise ValueError(f"{rule} cannot be said")


def _of_diffusion(rule: BlockDiffusion, query: str) -> str:
    """One expression without a branch: blocks are numbered within their half, `% length`."""
    size, length = rule.size, rule.length
    own, other = (f"{side} % {length} // {size}" for side in (query, "key"))
    noisy = f"({query} < {length}) & (key < {length}) & ({other} == {own})"
    before = f"({query} < {length}) & (key >= {length}) & ({other} < {own})"
    clean = f"({query} >= {length}) & (key >= {length}) & ({other} <= {own})"
    return f"({noisy}) | ({before}) | ({clean})"


def _ends(keep: BoolArray) -> tuple[int, ...]:
    """First token that is kept and the one behind the last; nothing where others lie between them."""
    kept = np.flatnonzero(keep)
    if not len(kept):
        return 0, 0
    first, end = int(kept[0]), int(kept[-1]) + 1
    return (first, end) if end - first == len(kept) else ()


def _column(numbers: IntArray) -> str:
    return f"torch.tensor({numbers.tolist()})[:, None, None, None]"


def _all(comparisons: list[str]) -> str:
    return comparisons[0] if len(comparisons) == 1 else " & ".join(f"({one})" for one in comparisons)
