"""Rows of a batch as they were given, ids and all, become what a model is called with; nothing is repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.errors import UsageError
from maskviz.core.given_batch import GivenBatch, Row
from maskviz.core.trace import Batch
from maskviz.load.encode import Encoded, labelled, padded
from maskviz.load.model import Loaded


def given_of(loaded: Loaded, encoded: Encoded) -> GivenBatch:
    """The rows that were made of texts, as a batch that was given."""
    batch, decoder = encoded.batch, encoded.batch.decoder
    positions = (None,) * batch.rows if batch.position_ids is None else _rows(batch.position_ids)
    given = GivenBatch(
        ids=_rows(batch.ids),
        keep=_rows(batch.keep) if "attention_mask" in encoded.inputs else (None,) * batch.rows,
        position_ids=positions,
    )
    if decoder is not None and "decoder_input_ids" in encoded.inputs:
        kept = _rows(decoder.keep) if "decoder_attention_mask" in encoded.inputs else (None,) * batch.rows
        given = replace(given, decoder_ids=_rows(decoder.ids), decoder_keep=kept)
    return with_special_ids(loaded, given)


def with_special_ids(loaded: Loaded, given: GivenBatch) -> GivenBatch:
    """The same rows with what the tokenizer, or else the config, says of padding and ends."""
    tokenizer, config = loaded.tokenizer, loaded.model.config
    specials = None
    if tokenizer is not None:
        try:
            specials = int(tokenizer.num_special_tokens_to_add())
        except (AttributeError, NotImplementedError, TypeError, ValueError):  # tokenizers of a model's own code
            specials = None
    return replace(
        given,
        pad_id=_id(getattr(tokenizer, "pad_token_id", None), getattr(config, "pad_token_id", None)),
        eos_id=_id(getattr(tokenizer, "eos_token_id", None), getattr(config, "eos_token_id", None)),
        specials=specials,
    )


def _id(*candidates: object) -> int | None:
    return next((one for one in candidates if isinstance(one, int) and one >= 0), None)


def encoded_rows(loaded: Loaded, given: GivenBatch, side: str) -> Encoded:
    """Call a model with rows as they are; rows of different length are padded first, as a collator pads them.

    Args:
        loaded: The model.
        given: The rows; every part as long as its ids.
        side: Where padding goes if rows differ in length.

    Raises:
        UsageError: parts differ from their ids in length, or some rows have a part and others have not.
    """
    _check(loaded, given)
    pad = given.pad_id or 0
    ids, real = padded(given.ids, pad, side)
    ragged = len({len(row) for row in given.ids}) > 1
    keep = _kept(given, ids, real, side, ragged)
    inputs: dict[str, AnyArray] = {"input_ids": ids}
    masks = _together(given.keep, side)
    if masks is not None or ragged:
        inputs["attention_mask"] = keep.astype(np.int64) if masks is None else masks
    batch = labelled(loaded, ids, keep, ("",) * len(ids))
    if (positions := _together(given.position_ids, side)) is not None:
        inputs["position_ids"] = positions
        batch = replace(batch, position_ids=positions, documents=documents_of(positions, keep))
    if (types := _together(given.token_types, side)) is not None:
        inputs["token_type_ids"] = types
        batch = replace(batch, token_types=types)
    if given.decoder_ids:
        batch = replace(batch, decoder=_decoder(loaded, given, inputs, pad))
    elif loaded.card.encoder_decoder:
        raise UsageError("the rows have no decoder_input_ids", f"{loaded.card.architecture} needs them")
    tensors = {name: torch.as_tensor(np.array(one), device=loaded.device) for name, one in inputs.items()}
    tensors[loaded.model.main_input_name] = tensors.pop("input_ids")
    notes = ("rows of different length: padded as a collator does it, with an attention mask",) if ragged else ()
    return Encoded(batch, dict(tensors), notes)


def documents_of(positions: IntArray, keep: BoolArray) -> IntArray | None:
    """int64 [batch, token], the text each token belongs to where positions restart behind the first; None where none
    do. Padding at the end belongs to the last."""
    starts = (positions[:, 1:] == 0) & (positions[:, :-1] > 0) & keep[:, 1:] & keep[:, :-1]
    if not starts.any():
        return None
    documents: IntArray = np.concatenate([np.zeros((len(starts), 1), np.int64), starts.cumsum(axis=1)], axis=1)
    return documents


def _check(loaded: Loaded, given: GivenBatch) -> None:
    vocabulary = loaded.card.vocabulary
    for token in (token for row in (*given.ids, *given.decoder_ids) for token in row):
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise UsageError(f"id {token} is not in the vocabulary", f"ids run from 0 to {(vocabulary or 1) - 1}")
    for name, parts, rows in (
        ("attention_mask", given.keep, given.ids),
        ("position_ids", given.position_ids, given.ids),
        ("token_type_ids", given.token_types, given.ids),
        ("decoder_attention_mask", given.decoder_keep, given.decoder_ids),
    ):
        if any(one is None for one in parts) and any(one is not None for one in parts):
            raise UsageError(f"some rows have {name} and some have none", "give it in every row, or in none")
        for index, (part, row) in enumerate(zip(parts, rows, strict=False)):
            if part is not None and len(part) != len(row):
                raise UsageError(
                    f"row {index + 1} has {len(row)} ids and {name} of {len(part)}", "one entry for each token"
                )
    _check_positions(loaded, given)


def _check_positions(loaded: Loaded, given: GivenBatch) -> None:
    limit = loaded.card.positions
    for index, row in enumerate(given.ids):
        positions = given.position_ids[index] if given.position_ids else None
        first, last = (0, len(row) - 1) if positions is None else (min(positions), max(positions))
        if first < 0 or (limit is not None and last >= limit):
            wrong = first if first < 0 else last
            wide = "from 0 on" if limit is None else f"0 to {limit - 1}"
            raise UsageError(
                f"row {index + 1} has position {wrong}, and the model {wide}", "cut it, or restart positions"
            )


def _kept(given: GivenBatch, ids: IntArray, real: BoolArray, side: str, ragged: bool) -> BoolArray:
    """bool [batch, token], False = padding: what the mask hides, and padding ids at either end that it does not."""
    keep = _together(given.keep, side)
    hidden = real if keep is None else np.asarray((keep != 0) & real)
    told_by_id = given.pad_id is not None and (keep is None or given.pad_id != given.eos_id) and not ragged
    return np.asarray(hidden & without_ends(ids, given.pad_id)) if told_by_id and given.pad_id is not None else hidden


def without_ends(ids: IntArray, pad: int) -> BoolArray:
    """bool [batch, token], False for padding ids at either end of a row. A row of nothing else is kept whole."""
    text = ids != pad
    before = np.maximum.accumulate(text, axis=1)
    behind = np.maximum.accumulate(text[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((before & behind) | ~text.any(axis=1, keepdims=True))


def _together(parts: Sequence[Row | None], side: str) -> IntArray | None:
    """Rows as one array, filled up with 0; None where there are none."""
    rows = [row for row in parts if row is not None]
    return padded(rows, 0, side)[0] if rows else None


def _decoder(loaded: Loaded, given: GivenBatch, inputs: dict[str, AnyArray], pad: int) -> Batch:
    ids, real = padded(given.decoder_ids, pad, "right")
    masks = _together(given.decoder_keep, "right")
    keep = real & ((masks != 0) if masks is not None else _own_text(ids, pad))
    inputs["decoder_input_ids"] = ids
    if masks is not None:
        inputs["decoder_attention_mask"] = keep.astype(np.int64)
    return labelled(loaded, ids, keep, ("",) * len(ids))


def _own_text(ids: IntArray, pad: int) -> BoolArray:
    """What is no padding at either end; the last token before the text stays, since many decoders start with the
    padding token."""
    text, places = ids != pad, np.arange(ids.shape[1])
    first = np.maximum(np.argmax(text, axis=1) - 1, 0)
    end = np.where(text.any(axis=1), len(places) - 1 - np.argmax(text[:, ::-1], axis=1), 0)
    return np.asarray((places >= first[:, None]) & (places <= end[:, None]))


def _rows(array: AnyArray) -> tuple[Row, ...]:
    return tuple(tuple(int(one) for one in row) for row in array)
