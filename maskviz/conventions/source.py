"""The Python that builds a mask anew, where its rule is known: three lines for torch, or a mask_mod."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.conventions.packed import texts_of
from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.rules.algebra import AllOf, Everything, Rule, all_of
from maskviz.core.rules.kinds import Causal, Document, Padding
from maskviz.core.rules.python_names import PythonNames
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
    words = PythonNames("query", _column, (of_query, of_key) if texts else None)
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
    words = PythonNames(query, looked_up, (f"text[{row}query]", f"text[{row}key]") if texts else None)
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
    return rule.python(PythonNames("query", _column)) is not None


def _comparisons(rule: Rule, names: PythonNames) -> tuple[str, ...]:
    said = rule.python(names)
    if said is None:
        raise ValueError(f"{rule} cannot be said")
    return said


def _text_line(numbers: IntArray, device: str = "") -> str:
    """The line that gives the `text` of each token, [token] or [batch, token]."""
    comment = "  # of each token; 0 is padding" if not numbers.all() else "  # of each token"
    return f"text = torch.tensor({(numbers if len(numbers) > 1 else numbers[0]).tolist()}{device}){comment}"


def _column(numbers: IntArray) -> str:
    return f"torch.tensor({numbers.tolist()})[:, None, None, None]"


def _all(comparisons: list[str]) -> str:
    return comparisons[0] if len(comparisons) == 1 else " & ".join(f"({one})" for one in comparisons)
