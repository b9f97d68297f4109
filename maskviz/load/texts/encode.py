"""Texts and ids become a batch with labels and roles, as the model's tokenizer makes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.run.trace import Batch
from maskviz.core.words import Role
from maskviz.core.writing import parameter, printable
from maskviz.load.inputs.user_mask import GivenMask
from maskviz.load.models.card import text_part
from maskviz.load.models.model import Loaded
from maskviz.load.texts.images import processed
from maskviz.load.texts.packing import check_packs, packed
from maskviz.load.texts.request import Request as Request
from maskviz.load.texts.request import check, check_reads_text, ids_example
from maskviz.load.texts.token_types import checked_types, types_argument

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_labels(
    tokenizer: PreTrainedTokenizerBase | None, ids: IntArray, keep: BoolArray | None = None
) -> tuple[tuple[str, ...], ...]:
    """Printable strings for ids [batch, token]; `keep` False marks padding.

    Byte-level pieces are decoded (` the`, not `Ġthe`), bytes that are no whole character become `\\xe4`, sentence
    pieces start with a space, word pieces keep their `##`. Without a tokenizer the ids themselves are shown.
    Padding is shown as the tokenizer's own token, or as "[pad]" where it has none.
    """
    if tokenizer is None:
        return tuple(tuple(str(token) for token in row) for row in ids.tolist())
    flat = ids.reshape(-1).tolist()
    pieces = tokenizer.convert_ids_to_tokens(flat)
    special = set(tokenizer.all_special_ids)
    byte_level = _is_byte_level(tokenizer)
    labels = [
        str(token) if piece is None else printable(piece) if token in special else _readable(piece, byte_level)
        for token, piece in zip(flat, pieces, strict=True)
    ]
    rows, width = ids.shape
    if keep is not None and tokenizer.pad_token_id is None:
        labels = [label if kept else "[pad]" for label, kept in zip(labels, keep.reshape(-1).tolist(), strict=True)]
    return tuple(tuple(labels[row * width : (row + 1) * width]) for row in range(rows))


def token_roles(
    tokenizer: PreTrainedTokenizerBase | None, ids: IntArray, keep: BoolArray
) -> tuple[tuple[Role, ...], ...]:
    """What each token of ids [batch, token] is; `keep` False marks padding."""
    special = set(tokenizer.all_special_ids) if tokenizer is not None else set()
    mask_id = tokenizer.mask_token_id if tokenizer is not None else None

    def role(token: int, kept: bool) -> Role:
        if not kept:
            return Role.PADDING
        if token == mask_id:
            return Role.MASK
        return Role.SPECIAL if token in special else Role.TEXT

    return tuple(tuple(map(role, row, kept)) for row, kept in zip(ids.tolist(), np.asarray(keep).tolist(), strict=True))


def _readable(piece: str, byte_level: bool) -> str:
    if byte_level and all(character in _bytes_of_characters() for character in piece):
        raw = bytes(_bytes_of_characters()[character] for character in piece)
        return printable(raw.decode("utf-8", errors="backslashreplace"))
    match = _BYTE_FALLBACK.fullmatch(piece)
    if match:
        return f"\\x{match[1].lower()}"
    return printable(piece.replace("▁", " "))


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hasattr(tokenizer, "byte_decoder")
    return "ByteLevel" in repr(backend.decoder)


@lru_cache(maxsize=1)
def _bytes_of_characters() -> dict[str, int]:
    """The byte each character of a byte-level vocabulary stands for (GPT-2's alphabet, Radford et al. 2019).

    Printable Latin-1 bytes stand for themselves, the rest for code points from 256 on, in order.
    """
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + order): byte for order, byte in enumerate(others)}


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A batch, the keyword arguments of the model's forward that stand for it, and what the reader must know.

    Attributes:
        batch: What goes in.
        inputs: The keyword arguments, without a mask of the user's own.
        notes: Sentences for the reader.
        user_mask: The user's own mask, which takes the place of `attention_mask`, or None.
        past: Tokens of the batch that a key-value cache among the inputs holds; the inputs go on behind them.
    """

    batch: Batch
    inputs: dict[str, Any]
    notes: tuple[str, ...] = ()
    user_mask: GivenMask | None = None
    past: int = 0


def encode(loaded: Loaded, request: Request) -> Encoded:
    """Encode a request for a model.

    Raises:
        UsageError: nothing to encode, or parts that do not go together.
        NotFoundError: texts are given and there is no tokenizer.
        CannotTraceError: a row is longer than the model's positions.
    """
    check(request)
    check_reads_text(loaded.model)
    if request.images:
        return _with_images(loaded, request)
    notes: list[str] = []
    rows, types = _rows(loaded, request, notes)
    if request.token_types:
        types_argument(loaded)
        types = checked_types(request.token_types, rows)
    if request.packed:
        return _packed(loaded, request, (rows, types), notes)
    longest = max(map(len, rows))
    if request.pad_to is not None and request.pad_to < longest:
        raise UsageError(
            f"{parameter('pad_to', request.pad_to)} is less than the {longest} tokens there are",
            f"{parameter('max_length')} cuts",
        )
    _check_positions(loaded, longest)
    if request.pad_to is not None:
        _check_padding(loaded, request.pad_to, len(rows))
    pad = _pad_id(loaded, raw=bool(request.ids))
    side = request.padding_side or _own_side(loaded.tokenizer)
    ids, keep = padded(rows, pad, side, request.pad_to)
    batch = labelled(loaded, ids, keep, _texts(request))
    inputs: dict[str, AnyArray] = {"input_ids": ids, "attention_mask": keep.astype(np.int64)}
    if types is not None and (name := _types_argument(loaded, request)):
        batch = replace(batch, token_types=padded(types, 0, side, request.pad_to)[0])
        inputs[name] = np.asarray(batch.token_types)
    if request.cumulative_positions:
        _check_generates(loaded)
        batch = replace(batch, position_ids=np.maximum(keep.cumsum(axis=1) - 1, 0))
        inputs["position_ids"] = np.asarray(batch.position_ids)
    if loaded.card.encoder_decoder:
        batch, of_decoder = _with_decoder(loaded, request, batch, notes)
        inputs |= of_decoder
    elif request.targets or request.target_ids:
        raise UsageError(f"{loaded.card.architecture} has no decoder of its own", f"leave out {parameter('target')}")
    inputs[loaded.model.main_input_name] = inputs.pop("input_ids")
    return Encoded(batch, _arguments(loaded, request, inputs), tuple(notes))


def _packed(
    loaded: Loaded, request: Request, rows: tuple[list[list[int]], list[list[int]] | None], notes: list[str]
) -> Encoded:
    """The rows of ids, and of segments where there are any, as one row whose positions restart with each text."""
    ids, types = rows
    check_packs(loaded, len(ids))
    _check_positions(loaded, max(map(len, ids)))
    row = packed(ids)
    batch = labelled(loaded, row.ids, np.ones_like(row.ids, dtype=np.bool_), _texts(request))
    batch = replace(batch, position_ids=row.position_ids, documents=row.documents)
    inputs: dict[str, AnyArray] = {"input_ids": row.ids, "position_ids": row.position_ids}
    if types is not None and (name := _types_argument(loaded, request)):
        batch = replace(batch, token_types=packed(types).ids)
        inputs[name] = np.asarray(batch.token_types)
    return Encoded(batch, _arguments(loaded, request, inputs), tuple(notes))


def _with_images(loaded: Loaded, request: Request) -> Encoded:
    """What the model's own processor makes of texts and images, all of it passed on."""
    made = processed(loaded, loaded.processor, request.texts, request.images, request.padding_side)
    _check_positions(loaded, made.ids.shape[1])
    batch = labelled(loaded, made.ids, made.keep, request.texts)
    roles = tuple(
        tuple(Role.IMAGE if image else role for role, image in zip(row, images, strict=True))
        for row, images in zip(batch.roles, made.is_image.tolist(), strict=True)
    )
    types = made.inputs.get("token_type_ids", made.inputs.get("mm_token_type_ids"))
    batch = replace(batch, roles=roles, token_types=None if types is None else types.cpu().numpy())
    return Encoded(batch, made.inputs | _arguments(loaded, request, {}), made.notes)


def _arguments(loaded: Loaded, request: Request, inputs: dict[str, AnyArray]) -> dict[str, Any]:
    """What the model is called with: the arrays it takes as tensors, and no cache where none is asked for."""
    arguments: dict[str, Any] = {
        name: torch.as_tensor(np.array(array), device=loaded.device)
        for name, array in inputs.items()
        if _takes(loaded, name)
    }
    return arguments | (without_cache(loaded) if request.no_cache else {})


def without_cache(loaded: Loaded) -> dict[str, Any]:
    """The argument for a run without a cache.

    Raises:
        UsageError: the model takes no such argument.
    """
    if "use_cache" not in inspect.signature(loaded.model.forward).parameters:
        raise UsageError(f"{loaded.card.architecture} takes no use_cache", f"leave out {parameter('no_cache')}")
    return {"use_cache": False}


def labelled(loaded: Loaded, ids: IntArray, keep: BoolArray, texts: tuple[str, ...]) -> Batch:
    """A batch of ids [batch, token] with labels and roles; keep False = padding."""
    labels = token_labels(loaded.tokenizer, ids, keep)
    return Batch(ids, keep, labels, token_roles(loaded.tokenizer, ids, keep), texts)


def _takes(loaded: Loaded, name: str) -> bool:
    """Whether the model's forward takes an argument."""
    parameters = inspect.signature(loaded.model.forward).parameters
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _types_argument(loaded: Loaded, request: Request) -> str | None:
    """The name token types are passed under; None where those of the tokenizer are not taken."""
    if request.token_types:
        return types_argument(loaded)
    return "token_type_ids" if _takes(loaded, "token_type_ids") else None


def _check_generates(loaded: Loaded) -> None:
    if "position_ids" not in inspect.signature(loaded.model.forward).parameters or not loaded.model.can_generate():
        raise UsageError(
            f"{loaded.card.architecture} takes no positions from generate()",
            f"leave out {parameter('position_ids', 'cumsum')}",
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


def _rows(loaded: Loaded, request: Request, notes: list[str]) -> tuple[list[list[int]], list[list[int]] | None]:
    """Token ids of each row, and their segments where the tokenizer returns them, cut to the length asked for."""
    if request.ids:
        _check_ids(request.ids, loaded)
        rows = [list(row) for row in request.ids]
        cut = rows if request.max_length is None else [row[: request.max_length] for row in rows]
        _note_cuts(rows, cut, notes, parameter("max_length"))
        return cut, None
    tokenizer = _needed(loaded)
    pairs: Sequence[str | None] = request.pairs or [None] * len(request.texts)
    encodings = [tokenizer(text, pair) for text, pair in zip(request.texts, pairs, strict=True)]
    full = [list(encoding["input_ids"]) for encoding in encodings]
    if not all(full):
        raise UsageError("a text has no tokens", "give at least one word")
    limit = request.max_length or loaded.longest_text
    if limit is not None and max(map(len, full)) > limit:
        encodings = [_shortened(tokenizer, one, limit) for one in zip(request.texts, pairs, strict=True)]
    rows = [list(encoding["input_ids"]) for encoding in encodings]
    _check_ids(rows, loaded, hint="the tokenizer belongs to another model")
    of_model = f"as sentence-transformers cuts it: its max_seq_length; {parameter('max_length')} allows more"
    _note_cuts(full, rows, notes, parameter("max_length") if request.max_length else of_model)
    has_types = all("token_type_ids" in encoding for encoding in encodings)
    return rows, [list(encoding["token_type_ids"]) for encoding in encodings] if has_types else None


def _shortened(tokenizer: PreTrainedTokenizerBase, texts: tuple[str, str | None], limit: int) -> Any:
    """The tokenizer's own cut, which keeps its special tokens and takes from the longer text of a pair."""
    try:
        encoding = tokenizer(*texts, truncation=True, max_length=limit)
    except Exception as error:  # the tokenizers' library raises kinds of its own where nothing would be left
        raise UsageError(
            f"{parameter('max_length', limit)} leaves no room for the text", "give a larger one"
        ) from error
    if len(encoding["input_ids"]) > limit:
        raise UsageError(
            f"{parameter('max_length', limit)} leaves no room beside the special tokens", "give a larger one"
        )
    return encoding


def _note_cuts(full: Sequence[Sequence[int]], cut: Sequence[Sequence[int]], notes: list[str], why: str) -> None:
    for index, (before, after) in enumerate(zip(full, cut, strict=True)):
        if len(after) < len(before):
            notes.append(f"text {index + 1} was cut from {len(before)} to {len(after)} tokens ({why})")


def _needed(loaded: Loaded) -> PreTrainedTokenizerBase:
    if loaded.tokenizer is None:
        raise NotFoundError(
            f"{loaded.card.name!r} comes without a usable tokenizer"
            + (f": {loaded.tokenizer_problem}" if loaded.tokenizer_problem else ""),
            f"give token ids instead: {ids_example()}, one per row",
        )
    return loaded.tokenizer


def _check_ids(rows: Sequence[Sequence[int]], loaded: Loaded, hint: str = "") -> None:
    vocabulary = loaded.card.vocabulary
    if hint and loaded.weightless:
        vocabulary = None  # another model's tokenizer may say what the text is: nothing is looked up
    for token in (token for row in rows for token in row):
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise UsageError(
                f"id {token} is not in the vocabulary", hint or f"ids run from 0 to {(vocabulary or 1) - 1}"
            )


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
            f"cut it with {parameter('max_length', limit)}",
        )


# More cells than any batch that can be traced has tokens; the exact bound is the memory's, and is asked later.
_MOST_TOKENS = 10_000_000


def _check_padding(loaded: Loaded, length: int, rows: int) -> None:
    limit = loaded.card.positions or _MOST_TOKENS
    if length > limit or length * rows > _MOST_TOKENS:
        raise CannotTraceError(
            f"{parameter('pad_to', length)} is more than {loaded.card.name!r} can be traced on",
            f"lower {parameter('pad_to')}",
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


def shifts_its_ids(loaded: Loaded) -> bool:
    """Whether a class with two stacks makes the decoder's ids of the encoder's, where it is given no others."""
    return loaded.card.encoder_decoder and loaded.card.architecture.endswith(_SHIFTING)


def shifted(loaded: Loaded, batch: Batch) -> Batch:
    """The decoder's side of such a class: the rows behind its start token."""
    ids = np.concatenate([np.full((batch.rows, 1), _start_id(loaded), dtype=np.int64), batch.ids[:, :-1]], axis=1)
    return labelled(loaded, ids, np.ones_like(batch.keep), ("",) * batch.rows)


def _with_decoder(
    loaded: Loaded, request: Request, batch: Batch, notes: list[str]
) -> tuple[Batch, dict[str, AnyArray]]:
    """The batch with its decoder's side, and the arguments that stand for it.

    A target is shifted right behind the start token, as in training; ids are taken as they are. Without either, a
    classifier is left to shift its own ids, and any other decoder is shown its start token alone.
    """
    start = _start_id(loaded)
    texts = request.targets or ("",) * batch.rows
    if not request.targets and not request.target_ids and shifts_its_ids(loaded):
        return replace(batch, decoder=replace(shifted(loaded, batch), texts=texts)), {}
    if request.target_ids:
        _check_ids(request.target_ids, loaded)
        rows = [list(row) for row in request.target_ids]
    elif request.targets:
        tokenizer = _needed(loaded)
        rows = [[start, *tokenizer(text_target=target)["input_ids"]][:-1] or [start] for target in request.targets]
    else:
        notes.append(f"no {parameter('target')}: the decoder is shown its start token alone")
        rows = [[start]] * batch.rows
    ids, keep = padded(rows, _pad_id(loaded, raw=bool(request.target_ids)), "right")
    _check_positions(loaded, ids.shape[1])
    decoder = labelled(loaded, ids, keep, texts)
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
