"""Texts, pairs or ids become a padded batch, and the tensors a model is called with."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.trace import Batch
from maskviz.load.card import text_part
from maskviz.load.labels import token_labels, token_roles
from maskviz.load.model import Loaded


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be encoded.

    Attributes:
        texts: One text per row, or empty where ids are given.
        pairs: Second texts, one per row, or empty.
        ids: Rows of raw ids instead of texts; no special tokens are added.
        targets, target_ids: The decoder's texts or raw ids, one per row, or empty.
        padding_side: "left", "right", or None for the tokenizer's own.
        pad_to: Length every row is padded to, or None for the longest row's.
        max_length: Length rows are cut to, or None.
        cumulative_positions: Whether position ids count real tokens, as `generate()` passes them.
    """

    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()
    targets: tuple[str, ...] = ()
    target_ids: tuple[tuple[int, ...], ...] = ()
    padding_side: str | None = None
    pad_to: int | None = None
    max_length: int | None = None
    cumulative_positions: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A batch, the keyword arguments of the model's forward that stand for it, and what the reader must know."""

    batch: Batch
    inputs: dict[str, torch.Tensor]
    notes: tuple[str, ...] = ()


def encode(loaded: Loaded, request: Request) -> Encoded:
    """Encode a request for a model.

    Raises:
        UsageError: nothing to encode, or parts that do not go together.
        NotFoundError: texts are given and there is no tokenizer.
        CannotTraceError: a row is longer than the model's positions.
    """
    _check(request)
    if loaded.model.main_input_name != "input_ids":
        raise CannotTraceError(
            f"{loaded.card.architecture} reads {loaded.model.main_input_name}", "maskviz gives a model text only"
        )
    notes: list[str] = []
    rows, types = _rows(loaded, request, notes)
    longest = max(map(len, rows))
    if request.pad_to is not None and request.pad_to < longest:
        raise UsageError(f"--pad-to {request.pad_to} is less than the {longest} tokens there are", "--max-length cuts")
    _check_positions(loaded, longest)
    if request.pad_to is not None:
        _check_padding(loaded, request.pad_to, len(rows))
    pad = _pad_id(loaded, raw=bool(request.ids))
    side = request.padding_side or _own_side(loaded.tokenizer)
    ids, keep = padded(rows, pad, side, request.pad_to)
    batch = _side(loaded, ids, keep, _texts(request))
    inputs: dict[str, AnyArray] = {"input_ids": ids, "attention_mask": keep.astype(np.int64)}
    if types is not None and _takes(loaded, "token_type_ids"):
        batch = replace(batch, token_types=padded(types, 0, side, request.pad_to)[0])
        inputs["token_type_ids"] = np.asarray(batch.token_types)
    if request.cumulative_positions:
        _check_generates(loaded)
        batch = replace(batch, position_ids=np.maximum(keep.cumsum(axis=1) - 1, 0))
        inputs["position_ids"] = np.asarray(batch.position_ids)
    if loaded.card.encoder_decoder:
        batch, of_decoder = _with_decoder(loaded, request, batch, notes)
        inputs |= of_decoder
    elif request.targets or request.target_ids:
        raise UsageError(f"{loaded.card.architecture} has no decoder of its own", "leave out --target")
    tensors = {name: torch.as_tensor(np.array(array), device=loaded.model.device) for name, array in inputs.items()}
    return Encoded(batch, {name: tensor for name, tensor in tensors.items() if _takes(loaded, name)}, tuple(notes))


def _side(loaded: Loaded, ids: IntArray, keep: BoolArray, texts: tuple[str, ...]) -> Batch:
    """A batch of ids [batch, token] with labels and roles; keep False = padding."""
    labels = token_labels(loaded.tokenizer, ids, keep)
    return Batch(ids, keep, labels, token_roles(loaded.tokenizer, ids, keep), texts)


def _takes(loaded: Loaded, name: str) -> bool:
    """Whether the model's forward takes an argument."""
    parameters = inspect.signature(loaded.model.forward).parameters
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _check_generates(loaded: Loaded) -> None:
    if "position_ids" not in inspect.signature(loaded.model.forward).parameters or not loaded.model.can_generate():
        raise UsageError(
            f"{loaded.card.architecture} takes no positions from generate()", "leave out --position-ids cumsum"
        )


def padded(rows: Sequence[Sequence[int]], pad: int, side: str, length: int | None = None) -> tuple[IntArray, BoolArray]:
    """Rows of ids as ids [batch, token] and keep [batch, token] (False = padding), padded on one side."""
    longest = max(map(len, rows))
    width = max(longest, length or 0)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    keep = np.zeros((len(rows), width), dtype=np.bool_)
    for index, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[index, place] = row
        keep[index, place] = True
    return ids, keep


def _check(request: Request) -> None:
    if bool(request.texts) == bool(request.ids):
        if request.texts:
            raise UsageError("texts and --ids are given together", "give one or the other")
        raise UsageError("there is no text", 'give one, such as maskviz show "some text", or - for standard input')
    for index, text in enumerate(request.texts):
        if not text.strip():
            raise UsageError(f"text {index + 1} is empty", "give at least one word")
    for text in (*request.texts, *request.pairs, *request.targets):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UsageError(f"the text {text[:20]!r} is not valid UTF-8", "check the terminal's encoding")
    if request.pairs and request.ids:
        raise UsageError("--pair and --ids are given together", "put both texts' ids into one row")
    if request.targets and request.target_ids:
        raise UsageError("--target and --target-ids are given together", "give one or the other")
    count = len(request.texts) or len(request.ids)
    for what, rows in (("--pair", request.pairs), ("--target", request.targets), ("--target-ids", request.target_ids)):
        if rows and len(rows) != count:
            raise UsageError(f"there are {len(rows)} {what} and {count} texts", f"give one {what} per text")
    if any(not row for row in request.ids + request.target_ids):
        raise UsageError("a row of ids is empty", 'write numbers, such as --ids "5 17 3"')


def _rows(loaded: Loaded, request: Request, notes: list[str]) -> tuple[list[list[int]], list[list[int]] | None]:
    """Token ids of each row, and their segments where the tokenizer returns them, cut to the length asked for."""
    if request.ids:
        _check_ids(request.ids, loaded)
        rows = [list(row) for row in request.ids]
        cut = rows if request.max_length is None else [row[: request.max_length] for row in rows]
        _note_cuts(rows, cut, notes)
        return cut, None
    tokenizer = _needed(loaded)
    pairs: Sequence[str | None] = request.pairs or [None] * len(request.texts)
    encodings = [tokenizer(text, pair) for text, pair in zip(request.texts, pairs, strict=True)]
    full = [list(encoding["input_ids"]) for encoding in encodings]
    if not all(full):
        raise UsageError("a text has no tokens", "give at least one word")
    if request.max_length is not None and max(map(len, full)) > request.max_length:
        encodings = [_shortened(tokenizer, one, request.max_length) for one in zip(request.texts, pairs, strict=True)]
    rows = [list(encoding["input_ids"]) for encoding in encodings]
    _note_cuts(full, rows, notes)
    has_types = all("token_type_ids" in encoding for encoding in encodings)
    return rows, [list(encoding["token_type_ids"]) for encoding in encodings] if has_types else None


def _shortened(tokenizer: PreTrainedTokenizerBase, texts: tuple[str, str | None], limit: int) -> Any:
    """The tokenizer's own cut, which keeps its special tokens and takes from the longer text of a pair."""
    try:
        encoding = tokenizer(*texts, truncation=True, max_length=limit)
    except Exception as error:  # the tokenizers' library raises kinds of its own where nothing would be left
        raise UsageError(f"--max-length {limit} leaves no room for the text", "give a larger one") from error
    if len(encoding["input_ids"]) > limit:
        raise UsageError(f"--max-length {limit} leaves no room beside the special tokens", "give a larger one")
    return encoding


def _note_cuts(full: Sequence[Sequence[int]], cut: Sequence[Sequence[int]], notes: list[str]) -> None:
    for index, (before, after) in enumerate(zip(full, cut, strict=True)):
        if len(after) < len(before):
            notes.append(f"text {index + 1} was cut from {len(before)} to {len(after)} tokens (--max-length)")


def _needed(loaded: Loaded) -> PreTrainedTokenizerBase:
    if loaded.tokenizer is None:
        raise NotFoundError(
            f"{loaded.card.name!r} comes without a usable tokenizer"
            + (f": {loaded.tokenizer_problem}" if loaded.tokenizer_problem else ""),
            'give token ids instead: --ids "5 17 3", one per row',
        )
    return loaded.tokenizer


def _check_ids(rows: tuple[tuple[int, ...], ...], loaded: Loaded) -> None:
    vocabulary = loaded.card.vocabulary
    for token in (token for row in rows for token in row):
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise UsageError(f"id {token} is not in the vocabulary", f"ids run from 0 to {(vocabulary or 1) - 1}")


# RoBERTa's table of positions has this many more rows than a text may have tokens: padding, and those before it.
_RESERVED_POSITIONS = 4


def _check_positions(loaded: Loaded, length: int) -> None:
    limit = loaded.card.positions
    own = getattr(loaded.tokenizer, "model_max_length", None)
    if limit and isinstance(own, int) and limit - _RESERVED_POSITIONS <= own < limit:
        limit = own
    if limit and length > limit:
        raise CannotTraceError(
            f"the text has {length} tokens, {loaded.card.name!r} has positions for {limit}",
            f"cut it with --max-length {limit}",
        )


# More cells than any batch that can be traced has tokens; the exact bound is the memory's, and is asked later.
_MOST_TOKENS = 10_000_000


def _check_padding(loaded: Loaded, length: int, rows: int) -> None:
    limit = loaded.card.positions or _MOST_TOKENS
    if length > limit or length * rows > _MOST_TOKENS:
        raise CannotTraceError(
            f"--pad-to {length} is more than {loaded.card.name!r} can be traced on", "lower --pad-to"
        )


def _own_side(tokenizer: PreTrainedTokenizerBase | None) -> str:
    return str(tokenizer.padding_side) if tokenizer is not None else "right"


def _pad_id(loaded: Loaded, raw: bool) -> int:
    """The tokenizer's padding id for texts, the config's for raw ids, else 0.

    The id matters beside the mask: RoBERTa counts its positions from the ids that are not padding.
    """
    of_tokenizer = getattr(loaded.tokenizer, "pad_token_id", None)
    of_config = getattr(text_part(loaded.model.config), "pad_token_id", None)
    candidates = (of_config,) if raw else (of_tokenizer, of_config)
    end = loaded.card.vocabulary or float("inf")
    return next((int(one) for one in candidates if isinstance(one, int) and 0 <= one < end), 0)


def _texts(request: Request) -> tuple[str, ...]:
    if request.pairs:
        return tuple(f"{text} | {pair}" for text, pair in zip(request.texts, request.pairs, strict=True))
    return request.texts or ("",) * len(request.ids)


# Heads whose models shift the encoder's ids into the decoder themselves when they are called plainly.
_SHIFTING = ("ForSequenceClassification", "ForQuestionAnswering")


def _with_decoder(
    loaded: Loaded, request: Request, batch: Batch, notes: list[str]
) -> tuple[Batch, dict[str, AnyArray]]:
    """The batch with its decoder's side, and the arguments that stand for it.

    A target is shifted right behind the start token, as in training; ids are taken as they are. Without either, a
    classifier is left to shift its own ids, and any other decoder is shown its start token alone.
    """
    start = _start_id(loaded)
    texts = request.targets or ("",) * batch.rows
    if not request.targets and not request.target_ids and loaded.card.architecture.endswith(_SHIFTING):
        shifted = np.concatenate([np.full((batch.rows, 1), start, dtype=np.int64), batch.ids[:, :-1]], axis=1)
        return replace(batch, decoder=_side(loaded, shifted, np.ones_like(batch.keep), texts)), {}
    if request.target_ids:
        _check_ids(request.target_ids, loaded)
        rows = [list(row) for row in request.target_ids]
    elif request.targets:
        tokenizer = _needed(loaded)
        rows = [[start, *tokenizer(text_target=target)["input_ids"]][:-1] or [start] for target in request.targets]
    else:
        notes.append("no --target: the decoder is shown its start token alone")
        rows = [[start]] * batch.rows
    ids, keep = padded(rows, _pad_id(loaded, raw=bool(request.target_ids)), "right")
    _check_positions(loaded, ids.shape[1])
    decoder = _side(loaded, ids, keep, texts)
    return replace(batch, decoder=decoder), {
        "decoder_input_ids": ids,
        "decoder_attention_mask": keep.astype(np.int64),
    }


def _start_id(loaded: Loaded) -> int:
    config = loaded.model.config
    generation = getattr(loaded.model, "generation_config", None)
    for owner in (config, generation):
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            value: Any = getattr(owner, name, None)
            if isinstance(value, int) and value >= 0:
                return value
    return 0
