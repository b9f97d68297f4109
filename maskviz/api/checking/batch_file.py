"""A batch from a file of JSON lines, as a collator or a tokenizer leaves it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskviz.core.checks.case import OFFSETS, Axes, GivenBatch, Row
from maskviz.core.errors import NotFoundError, UsageError
from maskviz.store.reading import bytes_of, decoded

_PARTS = ("attention_mask", "position_ids", "labels", "token_type_ids", "decoder_input_ids", "decoder_attention_mask")
# Under these names chat templates leave which tokens an assistant wrote.
ASSISTANT = ("assistant_masks", "assistant_mask")
# Parts that are true and false by right.
_OF_TRUTH = ("attention_mask", "decoder_attention_mask", *ASSISTANT)
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
    parts: dict[str, list[Row | None]] = {name: [row.get(name) for _, row in rows] for name in (*_PARTS, "assistant")}
    axes: list[Axes | None] = [row.get("position_axes") for _, row in rows]
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
        position_axes=tuple(axes) if any(axes) else (),
        assistant=tuple(parts["assistant"]) if any(parts["assistant"]) else (),
        others=tuple(dict.fromkeys(name for _, row in rows for name in row["others"])),
        text_labels=tuple(row.get("text_label") for _, row in rows),
        offsets=tuple(one for _, row in rows for one in row["offsets"]),
        booleans=tuple(dict.fromkeys(name for _, row in rows for name in row["booleans"])),
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
    parts = {name: rows for name, rows in content.items() if isinstance(rows, list)}
    if _depth(parts.get("position_ids")) == 3:  # [axis, batch, token], as models with several axes take them
        parts["position_ids"] = [list(row) for row in zip(*parts["position_ids"], strict=False)]
    for name, rows in parts.items():
        if len(rows) != len(ids) and name in _PARTS:
            raise UsageError(f"{where}: {name} has not {len(ids)} rows as input_ids has", _HINT)
    for row in range(len(ids)):
        yield {name: rows[row] for name, rows in parts.items() if len(rows) == len(ids)}


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0


def _of_the_text(labels: Any) -> bool:
    """Whether labels are a class, a score or scores of the whole text, which say nothing of its tokens."""
    return isinstance(labels, int | float) or (
        isinstance(labels, list) and {float} <= {type(one) for one in labels} <= {float, int}
    )


def _row(content: dict[str, Any], where: str) -> dict[str, Any]:
    made: dict[str, Any] = {"others": [], "booleans": []}
    for name in ("input_ids", *_PARTS, *ASSISTANT):
        value = content.get(name)
        if name == "labels" and _of_the_text(value):
            made["text_label"] = float(value) if isinstance(value, int | float) else math.nan
            continue
        if value is None:
            continue
        if name == "position_ids" and _depth(value) == 2:
            made["position_axes"] = tuple(_numbers(axis, name, where) for axis in value)
            if len({len(axis) for axis in made["position_axes"]}) > 1:
                raise UsageError(f"{where}: the axes of position_ids differ in length", "one position a token on each")
            value = value[0]
        own = "assistant" if name in ASSISTANT else name
        made[own] = _numbers(value, name, where)
        if name not in _OF_TRUTH and any(isinstance(one, bool) for one in value):
            made["booleans"].append(name)
    if any(one < 0 for one in made.get("attention_mask", ())):
        raise UsageError(f"{where}: attention_mask has a number below 0", "1 keeps a token, 0 hides it")
    if any(one not in (0, 1) for one in made.get("decoder_attention_mask", ())):
        raise UsageError(
            f"{where}: decoder_attention_mask has numbers other than 0 and 1", "1 keeps a token, 0 hides it"
        )
    if "input_ids" not in made:
        text = content.get("text")
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{where} has neither input_ids nor a text", _HINT)
        made["text"] = text
    made["offsets"] = [(name, _numbers(content[name], name, where)) for name in OFFSETS if content.get(name)]
    made["others"] = [name for name, value in content.items() if _is_other(name, value, made)]
    return made


def _numbers(value: Any, name: str, where: str) -> Row:
    """A list of whole numbers, true and false taken as 1 and 0."""
    if not isinstance(value, list) or not value or any(type(one) not in (int, bool) for one in value):
        raise UsageError(f"{where}: {name} is no list of whole numbers", _HINT)
    made = tuple(int(one) for one in value)
    if max(map(abs, made)) >= 2**31:
        raise UsageError(f"{where}: {name} has a number beyond 2147483647", _HINT)
    return made


def _is_other(name: str, value: Any, made: dict[str, Any]) -> bool:
    """Whether a part of a row is none of those that are known and has a number for each token."""
    return (
        name not in ("input_ids", *_PARTS, *OFFSETS)
        and isinstance(value, list)
        and len(value) == len(made.get("input_ids", ()))
        and all(isinstance(one, int | float) for one in value)
    )
