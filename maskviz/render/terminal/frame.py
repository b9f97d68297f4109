"""The frame around a grid in the terminal: which fold fits, row labels, the ruler of keys, the fold's sentence."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels.page import Token, first_place
from maskviz.render.axes import are_numbers, tokens_each
from maskviz.render.fold import Tile, tile_to_fit
from maskviz.render.palette import IMAGE_INK
from maskviz.render.terminal.screen import Screen, left, right

_WIDEST_TOKEN = 16  # columns of a row label's token
_AROUND = 11  # lines besides the rows of a folded picture: title, caption, ruler, legend, the fold's sentence, prompt


@dataclass(frozen=True, slots=True)
class Frame:
    """How a [query, key] grid is laid out on a screen.

    Attributes:
        tile: Cells folded into one place.
        cell_width: Columns of one place, 1 or 2.
        labels: One per row of places, all equally wide.
    """

    tile: Tile
    cell_width: int
    labels: tuple[str, ...]

    @property
    def margin(self) -> int:
        """Columns left of the first place."""
        return (cell_len(self.labels[0]) if self.labels else 0) + 1

    def ink(self, queries: tuple[Token, ...], row: int) -> str:
        """The style of a row's label: parts of an image have a colour of their own."""
        return IMAGE_INK if self.tile.rows == 1 and queries[row].role == "image" else ""


def frame_for(queries: tuple[Token, ...], keys: tuple[Token, ...], screen: Screen) -> Frame:
    """Return the frame that shows the most on this screen: two columns a cell, else one, else folded."""
    tokens = max(tokens_each(queries), tokens_each(keys))
    # A picture that would be only a little too high is better scrolled than folded.
    too_high = screen.height is not None and len(queries) > screen.height
    tile_rows = tile_to_fit(len(queries), max(4, (screen.height or 0) - _AROUND), tokens) if too_high else 1
    labels = _labels(queries, tile_rows, screen)
    room = screen.width - (cell_len(labels[0]) if labels else 0) - 1
    tile_columns = tile_to_fit(len(keys), room, tokens)
    if tile_columns > tile_rows:
        # Square tiles, so that a diagonal stays one; folding more rows only makes the labels shorter.
        tile_rows = tile_columns
        labels = _labels(queries, tile_rows, screen)
        room = screen.width - (cell_len(labels[0]) if labels else 0) - 1
    wide = tile_columns == 1 and tile_rows == 1 and 2 * len(keys) <= room
    return Frame(Tile(tile_rows, tile_columns), 2 if wide else 1, labels)


def _labels(queries: tuple[Token, ...], tile_rows: int, screen: Screen) -> tuple[str, ...]:
    """Return "3 the" for a row of one query, "0-3" for a row of several, the first one's number where that is all."""
    offset = first_place(queries)
    end = offset + len(queries)
    if are_numbers(queries):
        names = [token.text for token in queries[::tile_rows]]
        return tuple(right(name, max(map(len, names))) for name in names)
    digits = len(str(max(0, end - 1)))
    if tile_rows > 1:
        spans = [(start, min(start + tile_rows, end) - 1) for start in range(offset, end, tile_rows)]
        names = [f"{first}-{last}" if first < last else str(first) for first, last in spans]
        return tuple(right(name, 2 * digits + 1) for name in names)
    room = min(_WIDEST_TOKEN, screen.width // 4)
    tokens = [screen.fit(screen.label(token), room) for token in queries]
    width = max(map(cell_len, tokens), default=0)
    return tuple(f"{number:>{digits}} {left(text, width)}" for number, text in enumerate(tokens, start=offset))


def ruler(frame: Frame, keys: tuple[Token, ...]) -> Text:
    """Return the line above the grid with the index of every few keys."""
    step = 5 if frame.cell_width == 2 else 10
    line = " " * frame.margin
    places = -(-len(keys) // frame.tile.columns)
    first, run = first_place(keys), keys[0].count if keys else 1
    for place in range(0, places, step):
        index = str(first + place * frame.tile.columns * run)
        at = frame.margin + place * frame.cell_width
        if at + len(index) > frame.margin + max(places * frame.cell_width, 1):
            break
        line += " " * (at - len(line)) + index
    return Text(line, style="dim")


def key_line(queries: tuple[Token, ...], keys: tuple[Token, ...], screen: Screen) -> list[Text]:
    """Return the keys by name where they are other tokens than the queries, as in cross-attention."""
    if are_numbers(keys) or [token.text for token in queries] == [token.text for token in keys]:
        return []
    separator = " | " if screen.ascii_only else " │ "
    numbered = enumerate(keys[:64], start=first_place(keys))
    names = separator.join(f"{number} {screen.label(token)}" for number, token in numbered)
    more = f"{separator}and {len(keys) - 64} more" if len(keys) > 64 else ""
    return [Text(line, style="dim") for line in screen.wrap(f"keys: {names}{more}")]


def fold_sentence(frame: Frame, screen: Screen, meaning: str, unit: str = "cell") -> list[Text]:
    """Return the sentence that says what was folded and how to see every `unit`; nothing where nothing was."""
    if not frame.tile.folds:
        return []
    why = f"to fit {screen.width} columns" if frame.tile.columns > 1 else f"to fit {screen.height} lines"
    bigger = "wider" if frame.tile.columns > 1 else "taller"
    sentence = screen.words(
        f"folded {frame.tile} {why}: {meaning}; a {bigger} terminal or -o file.png shows every {unit}"
    )
    return [Text(line, style="dim") for line in screen.wrap(sentence)]
