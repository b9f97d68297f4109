"""How pictures in files are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.errors import UsageError
from maskviz.core.words import Style
from maskviz.core.writing import parameter

_LEAST_DPI, _MOST_DPI = 30, 1200


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pictures in files are drawn.

    Attributes:
        dpi: Resolution of PNG files.
        style: What they are for: the screen, or a paper, as wide as a column with one caption that has the facts.
        columns: Columns of a paper they take, None for one; of the paper's style alone.
    """

    dpi: int = 150
    style: Style = Style.SCREEN
    columns: int | None = None

    @classmethod
    def of(cls, dpi: int, style: str, columns: int | None) -> Drawing:
        """How pictures are drawn, in words.

        Raises:
            UsageError: there is no such style or resolution.
        """
        if style not in list(Style):
            raise UsageError(f"there is no style {style!r}", "it is screen or paper")
        return cls(dpi, Style(style), columns)

    def __post_init__(self) -> None:
        if not _LEAST_DPI <= self.dpi <= _MOST_DPI:
            raise UsageError(f"a figure cannot have {self.dpi} dpi", f"give {_LEAST_DPI} to {_MOST_DPI}")
        if self.columns is not None and self.style is not Style.PAPER:
            paper = parameter("style", "paper")
            raise UsageError(f"{parameter('columns', self.columns)} is of {paper}", f"add {paper}")
