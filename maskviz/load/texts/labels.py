"""Tokens as people read them."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.panels.printable import printable
from maskviz.core.words import Role

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
