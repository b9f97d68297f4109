"""A few maps side by side in the terminal, the tokens of their queries written once."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels.page import Heatmap, MapRow
from maskviz.render.fold import extremes_of, fold_values, place_words
from maskviz.render.palette import level
from maskviz.render.terminal.pictures import (
    GAP,
    Frame,
    fold_sentence,
    frame_for,
    heat_cells,
    key_line,
    room_of,
    ruler,
    scale_lines,
)
from maskviz.render.terminal.screen import Screen, heading, wrapped

_NARROWEST = 18  # columns of a map and its words, where there is room for more than one
_LABELS = 20  # columns the tokens of the queries may take
_MOST = 3  # maps side by side
_ROWS_OF_TWO_BANDS = 14  # rows of a map below which a screen is too short for a second line of maps


def map_row_lines(panel: MapRow, screen: Screen) -> list[Text]:
    """Return the maps under their names, as many side by side as can be read, and one scale for all."""
    first = panel.maps[0]
    per_line = max(1, min(_MOST, len(panel.maps), (screen.width - _LABELS + GAP) // (_NARROWEST + GAP)))
    frame = frame_for(first.queries, first.keys, screen, per_line)
    lines = heading(screen, panel.title, panel.caption)
    lines += key_line(first.queries, first.keys, screen)
    bands = [panel.maps[start : start + per_line] for start in range(0, len(panel.maps), per_line)]
    for band in bands[: 1 if screen.rows is not None and screen.rows < _ROWS_OF_TWO_BANDS else None]:
        lines += _band(band, frame, room_of(frame.labels, screen, per_line), screen)
    has_nan = any(bool(np.isnan(one.values[~one.blocked]).any()) for one in panel.maps)
    lines += scale_lines(first, screen, has_nan, panel.shared)
    extremes = extremes_of((one.values, one.blocked, one.meaningless) for one in panel.maps)
    meaning = place_words(frame.tile, first.pooled, extremes if frame.tile.folds else None)
    if meaning and not frame.tile.folds:
        return lines + [Text(line, style="dim") for line in screen.wrap(screen.words(meaning))]
    return lines + fold_sentence(frame, screen, meaning)


def _band(maps: tuple[Heatmap, ...], frame: Frame, room: int, screen: Screen) -> list[Text]:
    """Return maps side by side, each in as many columns as its words or its cells take."""
    pictures = [_picture(one, frame, screen) for one in maps]
    longest = [max(map(cell_len, (screen.words(one.title), screen.words(one.caption)))) for one in maps]
    cells = max((picture[0].cell_len for picture in pictures if picture), default=0)
    widths = [min(room, max(_NARROWEST, cells, width)) for width in longest]
    names = [wrapped(screen.words(one.title), width) for one, width in zip(maps, widths, strict=True)]
    said = [wrapped(screen.words(one.caption), width) for one, width in zip(maps, widths, strict=True)]
    empty = " " * frame.margin
    lines = [
        _beside(Text(empty), [Text(part, style) for part in row], widths)
        for words, style in ((names, "bold"), (said, "dim"))
        for row in zip_longest(*words, fillvalue="")
        if any(row)
    ]
    lines.append(_ruled(maps[0], frame, widths))
    for place, label in enumerate(frame.labels):
        dim = all(bool(one.meaningless[place * frame.tile.rows]) for one in maps)
        line = Text(f"{label} ", style="dim" if dim else frame.ink(maps[0].queries, place))
        lines.append(_beside(line, [picture[place] for picture in pictures], widths))
    return lines


def _ruled(panel: Heatmap, frame: Frame, widths: list[int]) -> Text:
    """Return the numbers of some keys above each map."""
    one = ruler(frame, panel.keys).plain[frame.margin :]
    return Text(" " * frame.margin + (" " * GAP).join(one.ljust(width) for width in widths), style="dim")


def _beside(line: Text, parts: list[Text], widths: list[int]) -> Text:
    """Return a line with its parts behind one another, each filled up to its width."""
    for number, (part, width) in enumerate(zip(parts, widths, strict=True)):
        line.append(" " * GAP if number else "")
        line.append_text(part)
        line.append(" " * max(0, width - part.cell_len))
    return line


def _picture(panel: Heatmap, frame: Frame, screen: Screen) -> list[Text]:
    folded = fold_values(panel.values, panel.blocked, panel.meaningless, frame.tile)
    levels = level(folded.values, panel.scale, panel.top, panel.floor)
    rows = zip(levels, folded.blocked, folded.meaningless.tolist(), strict=True)
    return [heat_cells(row, blocked, dim, screen, frame.cell_width) for row, blocked, dim in rows]
