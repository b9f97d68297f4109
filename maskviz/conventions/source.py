"""The Python that builds a mask anew, where its rule is known: three lines for torch, or a mask_mod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maskviz.conventions.packed import texts_of
from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.rules.algebra import AllOf, Everything, Rule, all_of
from maskviz.core.rules.block_kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.kinds import Band, Causal, Chunk, Document, Padding, Window
from maskviz.core.rules.recognise import recognise


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
    of rows, or some of these; or if it is of packed texts, causal or not; else None.

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
    of_texts = _packed(visible[:, :1])
    return None if of_texts is None else Known(of_texts, (rows, 1, queries, keys), 0)


def _packed(visible: BoolArray) -> Rule | None:
    """The rule of packed texts, each by itself, causal or not."""
    if not 1 < visible.shape[2] == visible.shape[3]:
        return None
    numbers = texts_of(visible)
    if numbers is None or numbers.max() < 2:  # one text in every row: its padding queries see nothing
        return None
    causal = Everything() if (visible == visible.swapaxes(2, 3)).all() else Causal()
    padding = Everything() if numbers.all() else Padding(Content(numbers > 0, np.bool_))
    return all_of(causal, Document(Content(numbers, np.int64)), padding)


def lines_of(found: Known) -> str:
    """Three lines that build `visible`, bool and broadcastable to the mask's shape, True = may attend: the mask of
    scaled_dot_product_attention. With packed texts four lines."""
    _, _, queries, keys = found.shape
    texts = [part.document.array for part in _parts(found.rule) if isinstance(part, Document)]
    first = f"{found.offset}, {found.offset + queries}" if found.offset else f"{queries}"
    of_query, of_key = ("text[:, None]", "text")
    if texts and len(texts[0]) > 1:
        of_query, of_key = ("text[:, None, :, None]", "text[:, None, None, :]")
    words = _Words("query", _column, (of_query, of_key) if texts else None)
    parts = [said for part in _parts(found.rule) for said in _comparisons(part, words)]
    cells = _all(parts) or f"torch.ones({queries}, {keys}, dtype=torch.bool)"
    ranges = f"query, key = torch.arange({first})[:, None], torch.arange({keys})"
    return "\n".join(("import torch", ranges, *map(_text_line, texts), f"visible = {cells}", ""))


def mask_mod_of(found: Known) -> str:
    """Python with a `mask_mod` for flex_attention and the `block_mask` made of it."""
    rows, _, queries, keys = found.shape
    tables: list[str] = []

    def looked_up(numbers: IntArray) -> str:
        name = f"table_{len(tables)}"
        tables.append(f"{name} = torch.tensor({numbers.tolist()}, device=device)  # of each row of the batch")
        return f"{name}[batch]"

    query = f"(query + {found.offset})" if found.offset else "query"
    texts = [part.document.array for part in _parts(found.rule) if isinstance(part, Document)]
    tables += [_text_line(table, ", device=device") for table in texts]
    row = "batch, " if rows > 1 else ""
    words = _Words(query, looked_up, (f"text[{row}query]", f"text[{row}key]") if texts else None)
    parts = [said for part in _parts(found.rule) for said in _comparisons(part, words)]
    body = _all(parts) or "key >= 0"
    several = rows if tables and rows > 1 else None
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


@dataclass(frozen=True, slots=True)
class _Words:
    """How things are called in Python.

    Attributes:
        query: The query's position; the key's is `key`.
        of_rows: Says a number that differs between the rows of the batch.
        texts: The number of the query's text and of the key's, 0 for padding; None where texts are not told apart.
    """

    query: str
    of_rows: Callable[[IntArray], str]
    texts: tuple[str, str] | None


def _comparisons(rule: Rule, words: _Words) -> tuple[str, ...]:
    """A rule that can be said, as comparisons that all hold where it lets a query see a key."""
    query = words.query

    def said(numbers: IntArray) -> str:
        return str(int(numbers[0])) if (numbers == numbers[0]).all() else words.of_rows(numbers)

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
        case Document() if words.texts is not None:
            return (" == ".join(words.texts),)
        case Padding() if words.texts is not None:
            return (f"{words.texts[1]} > 0",)
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


def _text_line(numbers: IntArray, device: str = "") -> str:
    """The line that gives the `text` of each token, [token] or [batch, token]."""
    comment = "  # of each token; 0 is padding" if not numbers.all() else "  # of each token"
    return f"text = torch.tensor({(numbers if len(numbers) > 1 else numbers[0]).tolist()}{device}){comment}"


def _column(numbers: IntArray) -> str:
    return f"torch.tensor({numbers.tolist()})[:, None, None, None]"


def _all(comparisons: list[str]) -> str:
    return comparisons[0] if len(comparisons) == 1 else " & ".join(f"({one})" for one in comparisons)
