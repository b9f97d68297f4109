"""A batch as somebody made it: rows, arguments of a forward, and what they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.checks.case import OFFSETS, GivenBatch, Row
from maskviz.core.errors import UsageError
from maskviz.core.run.trace import Batch
from maskviz.load.inputs.forward_inputs import encoded_inputs
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, labelled, padded, shifted, shifts_its_ids


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


# Where a part of a batch is kept, by the name of the argument it is.
_KEPT_AS = {
    "attention_mask": "keep",
    "position_ids": "position_ids",
    "labels": "labels",
    "token_type_ids": "token_types",
    "decoder_attention_mask": "decoder_keep",
}


def given_in(inputs: Mapping[str, Any], main: str, name: str) -> GivenBatch | None:
    """Arguments of a forward as a batch that was given; None where there are no ids [batch, token] among them.

    Args:
        inputs: The arguments, arrays or tensors.
        main: The name of the ids.
        name: Where they are from.
    """
    arrays = {
        own: np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
        for own, value in inputs.items()
        if isinstance(value, torch.Tensor | np.ndarray | list | tuple)
    }
    ids = arrays.get(main, arrays.get("input_ids"))
    if ids is None or ids.ndim != 2 or ids.dtype.kind not in "biu" or not ids.size:
        return None
    rows = len(ids)
    parts: dict[str, Any] = {}
    for argument, kept_as in _KEPT_AS.items():
        array = arrays.get(argument)
        if array is None or array.ndim != 2:
            continue
        if argument.endswith("attention_mask") and array.dtype.kind == "f":
            array = (array != 0).astype(np.int64)  # as transformers reads it, whatever was meant
        if array.dtype.kind in "biu" and (len(array) == rows or argument == "labels"):
            parts[kept_as] = _rows(array)
        elif array.dtype.kind in "biu" and len(array) == 1:
            parts[kept_as] = _rows(np.broadcast_to(array, (rows, array.shape[1])))
    positions = arrays.get("position_ids")
    if positions is not None and positions.ndim == 3 and positions.shape[1] == rows:
        parts["position_ids"] = _rows(positions[0])
        parts["position_axes"] = tuple(_rows(positions[:, row]) for row in range(rows))
    labels = arrays.get("labels")
    if labels is not None and labels.ndim == 1 and len(labels) == rows and labels.dtype.kind in "biuf":
        parts["text_labels"] = tuple(float(one) for one in labels)
    elif labels is not None and labels.dtype.kind == "f":
        parts["text_labels"] = (math.nan,) * rows
    decoder = arrays.get("decoder_input_ids")
    if decoder is not None and decoder.ndim == 2:
        parts["decoder_ids"] = _rows(decoder)
        parts.setdefault("decoder_keep", (None,) * rows)
    known = (main, "input_ids", "decoder_input_ids", *_KEPT_AS, *OFFSETS)
    return GivenBatch(
        ids=_rows(ids),
        keep=parts.pop("keep", (None,) * rows),
        name=name,
        offsets=tuple(
            (own, tuple(map(int, arrays[own]))) for own in OFFSETS if own in arrays and arrays[own].ndim == 1
        ),
        others=tuple(own for own, one in arrays.items() if own not in known and one.shape == ids.shape),
        booleans=tuple(
            own
            for own in ("input_ids", "labels", "position_ids", "decoder_input_ids")
            if own in arrays and arrays[own].dtype.kind == "b"
        ),
        **parts,
    )


def with_special_ids(loaded: Loaded, given: GivenBatch) -> GivenBatch:
    """The same rows with what the tokenizer, or else the config, says of padding and ends."""
    tokenizer, config = loaded.tokenizer, loaded.model.config
    specials = None
    if tokenizer is not None:
        try:
            specials = int(tokenizer.num_special_tokens_to_add())
        except (AttributeError, NotImplementedError, TypeError, ValueError):  # tokenizers of a model's own code
            specials = None
    if "input_ids" in given.booleans:  # true and false are no ids to compare with
        return replace(given, specials=specials)
    return replace(
        given,
        pad_id=_id(getattr(tokenizer, "pad_token_id", None), getattr(config, "pad_token_id", None)),
        eos_id=_id(getattr(tokenizer, "eos_token_id", None), getattr(config, "eos_token_id", None)),
        first_id=_id(
            getattr(tokenizer, "bos_token_id", None),
            getattr(tokenizer, "cls_token_id", None),
            getattr(config, "bos_token_id", None),
        ),
        specials=specials,
    )


def _id(*candidates: object) -> int | None:
    return next((one for one in candidates if isinstance(one, int) and one >= 0), None)


def encoded_rows(loaded: Loaded, given: GivenBatch, side: str) -> Encoded:
    """Call a model with rows as they are; rows of different length are padded first, as a collator pads them.

    A part that is not as long as its ids is left out, which a note says: the rest of the batch can be run.

    Args:
        loaded: The model.
        given: The rows.
        side: Where padding goes if rows differ in length.

    Raises:
        UsageError: ids or positions are not the model's, or some rows have a part and others have not.
    """
    given, notes = _fitting(given)
    if loaded.card.encoder_decoder and not given.decoder_ids and not shifts_its_ids(loaded):
        given = _of_labels(loaded, given)
        notes = (*notes, "no decoder_input_ids: the labels, shifted as the class shifts them")
    _check(loaded, given)
    pad = given.pad_id or 0
    ids, real = padded(given.ids, pad, side)
    ragged = len({len(row) for row in given.ids}) > 1
    if ragged:
        notes = (*notes, "rows of different length: padded as a collator does it, with an attention mask")
    keep = _kept(given, real, side, ragged)
    inputs: dict[str, AnyArray] = {"input_ids": ids}
    masks = _together(given.keep, side)
    if masks is not None or ragged:
        inputs["attention_mask"] = keep.astype(np.int64) if masks is None else masks
    batch = labelled(loaded, ids, keep, ("",) * len(ids))
    if (positions := _together(given.position_ids, side)) is not None:
        inputs["position_ids"] = positions if not given.position_axes else _axes_of(given, side)
        batch = replace(batch, position_ids=positions, documents=documents_of(positions, keep))
    if masks is not None and masks.max() > 1:
        batch = replace(batch, documents=masks)
    if (types := _together(given.token_types, side)) is not None:
        inputs["token_type_ids"] = types
        batch = replace(batch, token_types=types)
    if given.decoder_ids:
        batch = replace(batch, decoder=_decoder(loaded, given, inputs, pad))
    elif loaded.card.encoder_decoder:
        batch = replace(batch, decoder=shifted(loaded, batch))
    tensors = {name: torch.as_tensor(np.array(one), device=loaded.device) for name, one in inputs.items()}
    tensors[loaded.model.main_input_name] = tensors.pop("input_ids")
    return Encoded(batch, dict(tensors), notes)


def _of_labels(loaded: Loaded, given: GivenBatch) -> GivenBatch:
    """The rows with the decoder's ids that the class makes of labels where it is given no others.

    Raises:
        UsageError: there are no labels either, or the class makes none.
    """
    labels = [row for row in given.labels if row is not None]
    shifted_labels = [ids_of_labels(loaded, torch.tensor([row])) for row in labels]
    made = tuple(_rows(one.cpu().numpy())[0] for one in shifted_labels if one is not None)
    if len(made) < len(given.ids):
        raise UsageError("the rows have no decoder_input_ids", f"{loaded.card.architecture} needs them, or labels")
    return replace(given, decoder_ids=made, decoder_keep=(None,) * len(made))


def ids_of_labels(loaded: Loaded, labels: torch.Tensor) -> torch.Tensor | None:
    """The decoder's ids [batch, token] that a class makes of labels [batch, token]; None where it makes none."""
    shift = getattr(loaded.model, "prepare_decoder_input_ids_from_labels", None)
    return None if shift is None else shift(labels)


def _fitting(given: GivenBatch) -> tuple[GivenBatch, tuple[str, ...]]:
    """The rows without parts that have another length than their ids, and a note of each: a mask is left out of its
    row, any other part of the whole batch."""
    notes: list[str] = []

    def masks(name: str, parts: tuple[Row | None, ...], rows: tuple[Row, ...]) -> tuple[Row | None, ...]:
        wrong = [number for number, (part, row) in enumerate(zip(parts, rows, strict=False)) if _misfits(part, row)]
        notes.extend(f"text {number + 1} was run without its {name}, which does not fit" for number in wrong)
        return tuple((1,) * len(rows[number]) if number in wrong else part for number, part in enumerate(parts))

    def whole(name: str, parts: tuple[Row | None, ...]) -> tuple[Row | None, ...]:
        if not any(_misfits(part, row) for part, row in zip(parts, given.ids, strict=False)):
            return parts
        notes.append(f"the batch was run without its {name}, which do not fit")
        return ()

    positions = whole("position_ids", given.position_ids)
    fitting = replace(
        given,
        keep=masks("attention_mask", given.keep, given.ids),
        decoder_keep=masks("decoder_attention_mask", given.decoder_keep, given.decoder_ids),
        position_ids=positions,
        position_axes=given.position_axes if positions else (),
        token_types=whole("token_type_ids", given.token_types),
    )
    return fitting, tuple(notes)


def _misfits(part: Row | None, row: Row) -> bool:
    return part is not None and len(part) != len(row)


def _axes_of(given: GivenBatch, side: str) -> IntArray:
    """int64 [axis, batch, token], positions of every axis."""
    axes = [one for one in given.position_axes if one is not None]
    if len(axes) < len(given.ids) or len({len(one) for one in axes}) > 1:
        raise UsageError("rows have positions on several axes and on one", "give every row as many axes")
    return np.stack([padded([row[axis] for row in axes], 0, side)[0] for axis in range(len(axes[0]))])


def documents_of(positions: IntArray, keep: BoolArray) -> IntArray | None:
    """int64 [batch, token], the text each token belongs to where positions restart behind the first; None where none
    do. Padding at the end belongs to the last."""
    starts = (positions[:, 1:] == 0) & (positions[:, :-1] > 0) & keep[:, 1:] & keep[:, :-1]
    if not starts.any():
        return None
    documents: IntArray = np.concatenate([np.zeros((len(starts), 1), np.int64), starts.cumsum(axis=1)], axis=1)
    return documents


def without_padding_ids(loaded: Loaded, encoded: Encoded, given: GivenBatch) -> Encoded:
    """The same with padding ids at the ends of rows known for padding, as `encoded_rows` knows them."""
    batch = encoded.batch
    if encoded.past or any(len(row) != batch.length for row in given.ids) or len(given.ids) != batch.rows:
        return encoded
    keep = batch.keep & ~np.array([given.ends(row) for row in range(batch.rows)], np.bool_)
    if (keep == batch.keep).all():
        return encoded
    own = labelled(loaded, batch.ids, keep, batch.texts)
    return replace(encoded, batch=replace(batch, keep=keep, tokens=own.tokens, roles=own.roles))


def with_documents(encoded: Encoded) -> Encoded:
    """The same with the texts that its positions, or the numbers in its mask, tell apart."""
    batch, mask = encoded.batch, encoded.inputs.get("attention_mask")
    if batch.documents is not None or encoded.past:
        return encoded
    documents = None if batch.position_ids is None else documents_of(batch.position_ids, batch.keep)
    if isinstance(mask, torch.Tensor) and mask.ndim == 2 and not mask.is_floating_point() and int(mask.max()) > 1:
        documents = mask.cpu().to(torch.int64).numpy()
    return encoded if documents is None else replace(encoded, batch=replace(batch, documents=documents))


def _check(loaded: Loaded, given: GivenBatch) -> None:
    vocabulary = loaded.card.vocabulary
    for token in (token for row in (*given.ids, *given.decoder_ids) for token in row):
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise UsageError(f"id {token} is not in the vocabulary", f"ids run from 0 to {(vocabulary or 1) - 1}")
    for name, parts in (
        ("attention_mask", given.keep),
        ("position_ids", given.position_ids),
        ("token_type_ids", given.token_types),
        ("decoder_attention_mask", given.decoder_keep),
    ):
        if any(one is None for one in parts) and any(one is not None for one in parts):
            raise UsageError(f"some rows have {name} and some have none", "give it in every row, or in none")
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


def _kept(given: GivenBatch, real: BoolArray, side: str, ragged: bool) -> BoolArray:
    """bool [batch, token], False = padding: what the mask hides, and padding ids at either end that it does not."""
    keep = _together(given.keep, side)
    hidden = real if keep is None else np.asarray((keep != 0) & real)
    if ragged:
        return hidden
    return hidden & ~np.array([given.ends(row) for row in range(len(given.ids))], np.bool_)


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


# Names under which arguments have a cache, behind whose tokens a mask goes on.
_CACHES = ("past_key_values", "cache", "cache_params")


def encoded_arguments(loaded: Loaded, inputs: Mapping[str, Any]) -> Encoded:
    """As `encoded_inputs`, without a mask that fits neither the ids nor what transformers takes, which a note says; a
    decoder without ids is given its labels, as the class shifts them.

    Raises:
        UsageError, CannotTraceError: as `encoded_inputs`.
    """
    fitting, notes = dict(inputs), []
    if _mask_misfits(loaded, inputs):
        del fitting["attention_mask"]
        notes.append("the batch was run without its attention_mask, which does not fit")
    labels = inputs.get("labels")
    wanted = loaded.card.encoder_decoder and inputs.get("decoder_input_ids") is None
    if wanted and isinstance(labels, torch.Tensor) and labels.ndim == 2:
        fitting["decoder_input_ids"] = ids_of_labels(loaded, labels)
    encoded = encoded_inputs(loaded, fitting)
    return replace(encoded, notes=(*encoded.notes, *notes))


def _mask_misfits(loaded: Loaded, inputs: Mapping[str, Any]) -> bool:
    mask, ids = inputs.get("attention_mask"), inputs.get(loaded.model.main_input_name, inputs.get("input_ids"))
    if not isinstance(mask, torch.Tensor) or not isinstance(ids, torch.Tensor) or any(one in inputs for one in _CACHES):
        return False
    return mask.ndim == 3 or (mask.ndim == 2 and mask.shape != ids.shape)


def mask_of_cells(inputs: Mapping[str, Any], rows: int) -> torch.Tensor | None:
    """A mask [query, key] or [batch, query, key] among the arguments, which transformers takes for something else."""
    mask = inputs.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or (mask.ndim == 2 and len(mask) in (1, rows)):
        return None
    return mask if mask.ndim in (2, 3) else None
