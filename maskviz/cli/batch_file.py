"""A batch from a file of JSON lines, as a collator or a tokenizer leaves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskviz.cli.env import decoded
from maskviz.cli.inputs import bytes_of
from maskviz.core.errors import NotFoundError, UsageError
from maskviz.core.given_batch import GivenBatch, Row

_PARTS = ("attention_mask", "position_ids", "labels", "token_type_ids", "decoder_input_ids", "decoder_attention_mask")
_HINT = 'a line is {"text": "..."}, or {"input_ids": [5, 17], "attention_mask": [1, 1]} with any of ' + " ".join(
    ("position_ids", "labels", "token_type_ids", "decoder_input_ids", "decoder_attention_mask")
)


def read_batch(path: Path) -> GivenBatch | tuple[str, ...]:
    """Read a .jsonl file: the rows of one batch, or its texts where lines have no ids.

    A line holds one row, or several as lists of lists, as `dict(batch)` of tensors made into lists is written.

    Raises:
        NotFoundError: it cannot be read, or is no JSON.
        UsageError: its lines are no rows of a batch.
    """
    rows = list(_rows(path))
    if not rows:
        raise UsageError(f"file {str(path)!r} has no row", _HINT)
    texts = [row["text"] for _, row in rows if "input_ids" not in row]
    if len(texts) == len(rows):
        return tuple(texts)
    if texts:
        raise UsageError(f"some rows of {str(path)!r} have input_ids and some text alone", "give all rows the same")
    parts: dict[str, list[Row | None]] = {name: [row.get(name) for _, row in rows] for name in _PARTS}
    decoder = [row for row in parts["decoder_input_ids"] if row is not None]
    if decoder and len(decoder) < len(rows):
        raise UsageError("some rows have decoder_input_ids and some have none", "give it in every row, or in none")
    return GivenBatch(
        ids=tuple(row["input_ids"] for _, row in rows),
        keep=tuple(parts["attention_mask"]),
        name=str(path),
        position_ids=tuple(parts["position_ids"]),
        labels=tuple(parts["labels"]),
        token_types=tuple(parts["token_type_ids"]),
        decoder_ids=tuple(decoder),
        decoder_keep=tuple(parts["decoder_attention_mask"]) if decoder else (),
        lines=tuple(line for line, _ in rows),
    )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with the number of its line, its lists as tuples of whole numbers."""
    for number, line in enumerate(decoded(bytes_of(path, "file"), str(path)).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number} of {str(path)!r}"
        try:
            content = json.loads(line, object_pairs_hook=partial(_object, where))
        except (ValueError, RecursionError) as error:
            said = getattr(error, "msg", None) or "numbers too long or lists too deep"
            raise NotFoundError(f"{where} is no JSON: {said}", _HINT) from error
        if not isinstance(content, dict):
            raise UsageError(f"{where} is no object", _HINT)
        yield from ((number, _row(one, where)) for one in _single(content, where))


def _object(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; which of two parts of one name is meant cannot be told."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{where} has {twice[:40]!r} twice", "give each part once")
    return made


def _single(content: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The rows of a line."""
    ids = content.get("input_ids")
    if not isinstance(ids, list) or not ids or not isinstance(ids[0], list):
        yield content
        return
    parts = {name: content[name] for name in ("input_ids", *_PARTS) if content.get(name) is not None}
    for name, rows in parts.items():
        if not isinstance(rows, list) or len(rows) != len(ids):
            raise UsageError(f"{where}: {name} has not {len(ids)} rows as input_ids has", _HINT)
    for row in range(len(ids)):
        yield {name: rows[row] for name, rows in parts.items()}


def _of_the_text(labels: Any) -> bool:
    """Whether labels are a class, a score or scores of the whole text, which say nothing of its tokens."""
    return isinstance(labels, int | float) or (
        isinstance(labels, list) and {float} <= {type(one) for one in labels} <= {float, int}
    )


def _row(content: dict[str, Any], where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in ("input_ids", *_PARTS):
        value = content.get(name)
        if value is None or (name == "labels" and _of_the_text(value)):
            continue
        if not isinstance(value, list) or not value or any(type(one) not in (int, bool) for one in value):
            raise UsageError(f"{where}: {name} is no list of whole numbers", _HINT)
        made[name] = tuple(int(one) for one in value)
        if max(map(abs, made[name])) >= 2**31:
            raise UsageError(f"{where}: {name} has a number beyond 2147483647", _HINT)
    for name in ("attention_mask", "decoder_attention_mask"):
        if any(one not in (0, 1) for one in made.get(name, ())):
            raise UsageError(f"{where}: {name} has numbers other than 0 and 1", "1 keeps a token, 0 hides it")
    if "input_ids" not in made:
        text = content.get("text")
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{where} has neither input_ids nor a text", _HINT)
        made["text"] = text
    return made
