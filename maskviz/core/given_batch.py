"""A batch as it was given, before any model saw it: rows may be ragged and parts missing, as in life."""

from __future__ import annotations

from dataclasses import dataclass

Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GivenBatch:
    """Rows of ids and what came with them.

    Attributes:
        name: Where it is from: a file, or "" for the command line.
        ids: Token ids of each row.
        keep: The attention mask of each row, 1 = keep, as it was given; None where there was none.
        position_ids, labels, token_types: Of each row as given, or None.
        decoder_ids, decoder_keep: The decoder's rows and their mask, or None.
        lines: Line of the file each row is from, from 1; empty where there is no file.
        pad_id, eos_id: The tokenizer's or the config's, or None.
        specials: Special tokens the tokenizer puts around one text, or None.
    """

    ids: tuple[Row, ...]
    keep: tuple[Row | None, ...]
    name: str = ""
    position_ids: tuple[Row | None, ...] = ()
    labels: tuple[Row | None, ...] = ()
    token_types: tuple[Row | None, ...] = ()
    decoder_ids: tuple[Row, ...] = ()
    decoder_keep: tuple[Row | None, ...] = ()
    lines: tuple[int, ...] = ()
    pad_id: int | None = None
    eos_id: int | None = None
    specials: int | None = None
