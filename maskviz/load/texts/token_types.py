"""Token types: the segments, prefixes and images that a model tells apart in a row."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from maskviz.core.errors import UsageError
from maskviz.core.writing import either, parameter
from maskviz.load.models.model import Loaded

# The names models take them under: segments and prefixes, and what of a row is text or an image.
_NAMES = ("token_type_ids", "mm_token_type_ids")


def types_argument(loaded: Loaded) -> str:
    """The name a model takes token types under.

    Raises:
        UsageError: it takes none; one that swallows any keyword does not count.
    """
    parameters = inspect.signature(loaded.model.forward).parameters
    for name in _NAMES:
        if name in parameters:
            return name
    raise UsageError(f"{loaded.card.architecture} takes no token types", f"leave out {parameter('token_types')}")


def checked_types(given: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """The user's token types, one for every token of every row.

    Raises:
        UsageError: a row has more or fewer tokens than types, or a type is negative.
    """
    for number, (types, row) in enumerate(zip(given, rows, strict=True)):
        if len(types) != len(row):
            which = either(f"row {number + 1} of token_types=", f"--token-types {number + 1}")
            raise UsageError(
                f"{which} has {len(types)} numbers and text {number + 1} has {len(row)} tokens",
                "give one number per token, special tokens included",
            )
        if min(types) < 0:
            raise UsageError(f"token type {min(types)} is negative", "types count from 0")
    return [list(types) for types in given]
