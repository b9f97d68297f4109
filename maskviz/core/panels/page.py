"""What renderers draw. A panel knows numbers, labels and words, and nothing of attention or formats.

Strings in panels are already printable (see `printable`); renderers still have to escape their own markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray, sealed
from maskviz.core.panels.charts import Bars, Curve
from maskviz.core.words import Scale


class Tone(StrEnum):
    """How much a sentence matters."""

    PLAIN = "plain"
    QUIET = "quiet"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence or paragraph.

    Attributes:
        details: What belongs below it, a line each, indented and without its tone.
    """

    text: str
    tone: Tone = Tone.PLAIN
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is shown.

    Attributes:
        text: Printable text.
        role: "text", "special", "mask", "image", "padding", "replaced" or "kept": how it is to be marked.
        count: How many tokens in a row it stands for.
        place: Its number in its text, or that of the first it stands for.
    """

    text: str
    role: str = "text"
    count: int = 1
    place: int | None = None


def first_place(tokens: tuple[Token, ...]) -> int:
    """Number of the first of consecutive tokens: not 0 where the queries come after a cache."""
    return tokens[0].place or 0 if tokens else 0


@dataclass(frozen=True, slots=True)
class TokenStrip:
    """Rows of tokens, one per text, each token numbered within its row.

    Attributes:
        names: Names of the rows, such as "text 1"; empty where one row needs none.
        starts: Number of each row's first token; empty where all start at 0.
    """

    title: str
    rows: tuple[tuple[Token, ...], ...]
    names: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()

    def numbered(self, row: int) -> Iterator[tuple[str, Token]]:
        """The tokens of a row with their numbers, such as "5", or "3-258" for a token that stands for several."""
        number = self.starts[row] if self.starts else 0
        for token in self.rows[row]:
            last = number + token.count - 1
            yield (str(number) if token.count == 1 else f"{number}-{last}"), token
            number = last + 1


@dataclass(frozen=True, slots=True)
class Table:
    """A small table.

    Attributes:
        columns: Column titles; a title that ends in ">" marks a right-aligned column and is shown without it.
        rows: Cells as printable text.
        caption: A sentence below, may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A reason that occurs in a mask: its bit, its word and the share of cells in [0, 1] it blocks."""

    code: int
    word: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class MaskGrid:
    """One mask of one text.

    Attributes:
        title: Which mask, such as "layers 0-3".
        caption: The rule in words and the shares, one line.
        codes: uint8 [query, key], 0 = visible, `PARTLY` = some cells of the place are, else its lowest `Reason` bit.
        queries, keys: Tokens along the two axes.
        meaningless: bool [query], True where the query is padding and its row is drawn greyed.
        legend: The reasons that occur.
        tile: Tokens along a side of one place; more than 1 where the mask was folded before it came here.
    """

    title: str
    caption: str
    codes: ByteArray
    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    meaningless: BoolArray
    legend: tuple[LegendEntry, ...]
    tile: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", sealed(self.codes, np.uint8))
        object.__setattr__(self, "meaningless", sealed(self.meaningless, np.bool_))
        expected = (len(self.queries), len(self.keys))
        if self.codes.shape != expected or self.meaningless.shape != expected[:1]:
            raise ValueError(f"codes {self.codes.shape} do not fit {expected[0]} queries and {expected[1]} keys")

    @property
    def line(self) -> str:
        """The picture told in a line."""
        return f"{self.title}, {self.caption.partition(';')[0]}"


@dataclass(frozen=True, slots=True)
class Pooled:
    """What a place of a map stands for that was pooled before it became a panel.

    Attributes:
        tile: Tokens along a side of a place.
        shows: What a place shows, such as "the largest weight in it".
        largest: The largest single value in all that was pooled.
    """

    tile: int
    shows: str
    largest: float


@dataclass(frozen=True, slots=True, eq=False)
class DiffGrid:
    """The picture of two masks beside each other: which of them lets through what.

    Attributes:
        title: Which masks.
        caption: What they are, one line.
        codes: uint8 [query, key], 0 = neither lets the query see the key, 1 = only A, 2 = only B, 3 = both.
        queries, keys: Tokens along the two axes.
        meaningless: bool [query], True where the query is padding: drawn greyed and not counted.
    """

    title: str
    caption: str
    codes: ByteArray
    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    meaningless: BoolArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", sealed(self.codes, np.uint8))
        object.__setattr__(self, "meaningless", sealed(self.meaningless, np.bool_))
        expected = (len(self.queries), len(self.keys))
        if self.codes.shape != expected or self.meaningless.shape != expected[:1]:
            raise ValueError(f"codes {self.codes.shape} do not fit {expected[0]} queries and {expected[1]} keys")

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Cells that neither, only A, only B and both let through, on rows that have a meaning."""
        found = np.bincount(self.codes[~self.meaningless].ravel(), minlength=4).tolist()
        return (found[0], found[1], found[2], found[3])


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """One map of numbers over tokens, such as the attention of one head.

    Attributes:
        title, caption: Which map it is; what it says, one line.
        values: float32 [query, key].
        blocked: bool [query, key], True where the mask blocks: drawn distinct from zero.
        queries, keys: Tokens along the two axes.
        meaningless: bool [query], True for rows of padding queries, drawn greyed.
        scale: Linear, or logarithmic between `floor` and `top`.
        top: Value of the scale's upper end.
        floor: Lower end of a logarithmic scale; values below it are drawn as it.
        unit: What the colour bar measures.
        pooled: What a place stands for where it is more than one cell; `queries` and `keys` are then runs of tokens.
    """

    title: str
    caption: str
    values: FloatArray
    blocked: BoolArray
    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    meaningless: BoolArray
    scale: Scale = Scale.LINEAR
    top: float = 1.0
    floor: float = 1e-4
    unit: str = "attention"
    pooled: Pooled | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", sealed(self.values, np.float32))
        object.__setattr__(self, "blocked", sealed(self.blocked, np.bool_))
        object.__setattr__(self, "meaningless", sealed(self.meaningless, np.bool_))
        expected = (len(self.queries), len(self.keys))
        if self.values.shape != expected or self.blocked.shape != expected or self.meaningless.shape != expected[:1]:
            raise ValueError(f"values {self.values.shape} do not fit {expected[0]} queries and {expected[1]} keys")


@dataclass(frozen=True, slots=True, eq=False)
class MapRow:
    """A few maps over the same tokens, side by side and large enough to read.

    Attributes:
        title, caption: What they are; what they say together, one line.
        maps: At least one; all have the queries, keys, scale, `top` and `unit` of the first.
    """

    title: str
    caption: str
    maps: tuple[Heatmap, ...]

    def __post_init__(self) -> None:
        first = self.maps[0]
        for one in self.maps:
            if one.values.shape != first.values.shape or one.top != first.top or one.scale is not first.scale:
                raise ValueError(f"{one.title} and {first.title} share no axes or no scale")

    @property
    def line(self) -> str:
        """The pictures told in a line."""
        return f"{self.title}: {'; '.join(f'{one.title} {one.caption}'.strip() for one in self.maps)}"

    @property
    def shared(self) -> str:
        """For what the scale is one, empty where there is one map."""
        if len(self.maps) == 1:
            return ""
        return f"one scale for {'all heads' if self.maps[0].title.startswith('head ') else 'all maps'}"

    @property
    def unit(self) -> str:
        """What the one scale measures, and of what."""
        return ", ".join(filter(None, (self.maps[0].unit, self.shared)))


@dataclass(frozen=True, slots=True, eq=False)
class TokenLines:
    """A map as two columns of tokens, queries left and keys right, with a line for each weight between them.

    Attributes:
        map: The numbers; cells that are blocked, and rows without meaning, have no line.
    """

    map: Heatmap

    # Weights below this share of the largest have no line.
    LEAST: ClassVar[float] = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class HeadTile:
    """One head's map among many.

    Attributes:
        row, column: Place in the grid; rows are layers as listed in `HeadGrid.row_names`, columns are heads.
        values: float32 [query, key].
        blocked: bool [query, key].
        meaningless: bool [query].
        gate: Gate of the head in [0, 1] where there is a head mask and it is below 1, else None.
    """

    row: int
    column: int
    values: FloatArray
    blocked: BoolArray
    meaningless: BoolArray
    gate: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class HeadGrid:
    """Small maps of many heads, layers down and heads across.

    Attributes:
        row_names: Names of the rows, such as "layer 0".
        column_names: Names of the columns, such as "head 3".
        tiles: The maps.
        scale, top, floor, unit, pooled: As in `Heatmap`, the same for every tile.
    """

    title: str
    caption: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    tiles: tuple[HeadTile, ...]
    scale: Scale = Scale.LINEAR
    top: float = 1.0
    floor: float = 1e-4
    unit: str = "attention"
    pooled: Pooled | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A plain map of numbers, layers down and heads across.

    Attributes:
        values: float32 [row, column], NaN where there is nothing.
        row_names, column_names: Names along the axes.
        top: Value of the scale's upper end.
        unit: What the numbers measure.
        centred: Whether colours run from -top to top with zero in a neutral middle, and numbers carry their sign;
            else colours run from 0 to top.
    """

    title: str
    caption: str
    values: FloatArray
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    top: float
    unit: str
    centred: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", sealed(self.values, np.float32))
        expected = (len(self.row_names), len(self.column_names))
        if self.values.shape != expected:
            raise ValueError(f"values {self.values.shape} do not fit {expected[0]} rows and {expected[1]} columns")


Panel = (
    Note | TokenStrip | Table | MaskGrid | DiffGrid | Heatmap | MapRow | TokenLines | HeadGrid | Matrix | Bars | Curve
)


@dataclass(frozen=True, slots=True)
class Page:
    """A title and its panels, top to bottom.

    Attributes:
        title: One line.
        subtitle: The model in one line.
        panels: What to draw.
        facts: Metadata for files: model, text, command.
        lines: Lines of a terminal of 80 columns it is meant to take at most, None for as many as it needs.
    """

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    facts: dict[str, str] = field(default_factory=dict)
    lines: int | None = None
