"""How things are called in Python that builds a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from maskviz.core.arrays import IntArray


@dataclass(frozen=True, slots=True)
class PythonNames:
    """The names a rule is said with as Python.

    Attributes:
        query: The query's position; the key's is `key`.
        of_rows: Says a number that differs between the rows of the batch, of int64 [batch].
        texts: The number of the query's text and of the key's, 0 for padding; None where texts are not told apart.
    """

    query: str
    of_rows: Callable[[IntArray], str]
    texts: tuple[str, str] | None = None

    def number(self, numbers: IntArray) -> str:
        """A number of each row int64 [batch], as one where all are the same."""
        return str(int(numbers[0])) if (numbers == numbers[0]).all() else self.of_rows(numbers)
