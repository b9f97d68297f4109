"""Head masks from their grammar or from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from maskviz.cli.inputs import bytes_of
from maskviz.core.errors import NotFoundError
from maskviz.core.heads import HeadMask, head_mask_of, parse_head_mask


def parse_or_read_head_mask(text: str, shapes: Mapping[str, tuple[int, int]]) -> HeadMask:
    """A head mask from its grammar, or from @file.json / @file.npy holding [layer, head] with 1 = keep.

    Raises:
        UsageError: it does not parse or does not fit the model.
        NotFoundError: the file is missing or damaged.
    """
    if not text.startswith("@"):
        return parse_head_mask(text, shapes)
    path = Path(text[1:])
    raw = bytes_of(path, "head mask file")
    hint = "it must hold layers x heads numbers from 0 to 1, 1 keeps a head"
    try:
        npy = path.suffix == ".npy"
        array = np.load(BytesIO(raw), allow_pickle=False) if npy else np.array(json.loads(raw))
        if array.dtype.kind not in "buif":
            raise ValueError(f"it holds {array.dtype}")
        return head_mask_of(np.asarray(array, dtype=np.float32), shapes)
    except (ValueError, TypeError, EOFError, OSError, RecursionError, MemoryError) as error:
        said = (str(error).splitlines() or ["unreadable"])[0]
        raise NotFoundError(f"head mask file {str(path)!r} cannot be read: {said}", hint) from error
