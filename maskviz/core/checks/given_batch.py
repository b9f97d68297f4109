"""A batch as it was given, before any model saw it: rows may be ragged and parts missing, as in life."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Row = tuple[int, ...]
# Names under which offsets of packed texts come.
OFFSETS = ("cu_seq_lens_q", "cu_seq_lens_k", "cu_seqlens", "cu_seqlens_q", "cu_seqlens_k")
# Positions of a row on several axes, such as time, height and width of pictures.
Axes = tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class GivenBatch:
    """Rows of ids and what came with them.

    Attributes:
        name: Where it is from: a file, or "" for the command line.
        ids: Token ids of each row.
        keep: The attention mask of each row as it was given, 1 = keep, 0 = padding; numbers above 1 are those of packed
            texts; None where there was none.
        position_ids, labels, token_types: Of each row as given, or None.
        position_axes: Positions of each row on several axes, or None; those on the first are in `position_ids` too.
        assistant: The mask of each row's tokens that an assistant wrote, 1 = its own, or None.
        others: Names of what else the rows have a number of for each token.
        text_labels: A label of each whole text, or None; NaN where it is no whole number, as scores are.
        offsets: Where each packed text starts, and the end of the last, as flash attention takes them, by name.
        booleans: Names of parts that are true and false where whole numbers are meant.
        decoder_ids, decoder_keep: The decoder's rows and their mask, or None.
        lines: Line of the file each row is from, from 1; empty where there is no file.
        pad_id, eos_id: The tokenizer's or the config's, or None.
        first_id: The id the tokenizer puts in front of a text (bos or cls), or None.
        specials: Special tokens the tokenizer puts around one text, or None.
    """

    ids: tuple[Row, ...]
    keep: tuple[Row | None, ...]
    name: str = ""
    position_ids: tuple[Row | None, ...] = ()
    labels: tuple[Row | None, ...] = ()
    token_types: tuple[Row | None, ...] = ()
    position_axes: tuple[Axes | None, ...] = ()
    text_labels: tuple[float | None, ...] = ()
    assistant: tuple[Row | None, ...] = ()
    others: tuple[str, ...] = ()
    offsets: tuple[tuple[str, Row], ...] = ()
    booleans: tuple[str, ...] = ()
    decoder_ids: tuple[Row, ...] = ()
    decoder_keep: tuple[Row | None, ...] = ()
    lines: tuple[int, ...] = ()
    pad_id: int | None = None
    eos_id: int | None = None
    first_id: int | None = None
    specials: int | None = None

    def kept(self, row: int) -> Row:
        """Which tokens of a row are no padding, 1 = none: by its mask, else by padding ids at its ends."""
        keep = self.keep[row]
        return keep if keep is not None else tuple(int(not end) for end in self.ends(row))

    def ends(self, row: int) -> list[bool]:
        """Whether each token of a row is padding by its id: at an end of the row, and more than a single one where the
        id is that of a text's end or beginning too. A row of nothing else has none."""
        ids, pad = self.ids[row], self.pad_id
        if pad is None:
            return [False] * len(ids)
        ends = ends_of(ids, pad)
        if all(ends):
            return [False] * len(ids)
        if pad in (self.eos_id, self.first_id):
            first, last = ends.index(False), len(ends) - 1 - ends[::-1].index(False)
            if first == 1:
                ends[0] = False
            if last == len(ends) - 2:
                ends[-1] = False
        return ends

    def restarts(self, row: int) -> bool:
        """Whether the positions of a row start anew behind its first token, as those of packed texts do."""
        positions = self.position_ids[row] if row < len(self.position_ids) else None
        if positions is None:
            return False
        return any(one == 0 and before > 0 for before, one in pairwise(positions))


def ends_of(ids: Row, pad: int) -> list[bool]:
    """Whether each id is padding at an end of its row."""
    text = np.array([token != pad for token in ids], dtype=np.bool_)
    inside = np.maximum.accumulate(text) & np.maximum.accumulate(text[::-1])[::-1]
    return [not one for one in inside.tolist()]
