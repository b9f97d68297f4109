"""Several texts in one row, as packing trainers call a model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import IntArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.writing import parameter
from maskviz.load.models.model import Loaded


@dataclass(frozen=True, slots=True, eq=False)
class PackedRow:
    """Rows of tokens joined into one.

    Attributes:
        ids: int64 [1, token].
        position_ids: int64 [1, token], from 0 in each text.
        documents: int64 [1, token], the text a token belongs to, from 0.
    """

    ids: IntArray
    position_ids: IntArray
    documents: IntArray


def packed(rows: Sequence[Sequence[int]]) -> PackedRow:
    """Join rows of ids into one row; every token stands for itself, there is no padding."""
    return PackedRow(
        np.array([[token for row in rows for token in row]], dtype=np.int64),
        np.array([[position for row in rows for position in range(len(row))]], dtype=np.int64),
        np.array([[text for text, row in enumerate(rows) for _ in row]], dtype=np.int64),
    )


def check_packs(loaded: Loaded, texts: int) -> None:
    """Refuse what cannot be packed.

    Raises:
        UsageError: there is a single text.
        CannotTraceError: the model has an encoder of its own, or takes no position ids.
    """
    if texts < 2:
        raise UsageError(f"{parameter('packed')} needs more than one text", "give the texts that share the row")
    if loaded.card.encoder_decoder:
        raise CannotTraceError(
            f"{loaded.card.architecture} has an encoder and a decoder, texts are packed for decoders alone",
            f"leave out {parameter('packed')}",
        )
    if "position_ids" not in inspect.signature(loaded.model.forward).parameters:
        raise CannotTraceError(
            f"{loaded.card.architecture} takes no position ids, so packed texts cannot be told apart",
            f"leave out {parameter('packed')}",
        )
